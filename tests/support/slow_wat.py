"""Slow oracles: WAT reading with gzip, json and urllib, a whole file at a time, and grouping as defined."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections import Counter, defaultdict
from hashlib import blake2b, sha224
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit


def slow_records(data):
    data = gzip.decompress(data)
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        length = int(fields["Content-Length"])
        if fields["WARC-Type"] == "metadata":
            yield json.loads(data[:length])
        data = data[length + 4 :]


def slow_join(base, url):
    """Resolve as RFC 3986 does: `urljoin` drops empty segments of relative paths, so they are named temporarily."""
    base, url = (re.sub(r"(?<=[^:/])//", "/-empty-/", part) for part in (base, url))
    return urljoin(base, url).replace("/-empty-/", "//")


def slow_url(url, page_url, base):
    for char in "\t\r\n ":
        url = url.strip().replace(char, "")
    if url.lower().startswith("data:"):
        return None, "data_uri"
    relative = not urlsplit(url).scheme
    parts = urlsplit(urldefrag(slow_join(slow_join(page_url, base), url))[0])
    if parts.scheme not in ("http", "https"):
        return None, "unresolvable" if relative else "scheme"
    host = parts.netloc.lower().encode("idna").decode()
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if parts.scheme == scheme:
            host = host.removesuffix(port)
    return quote(urlunsplit(parts._replace(netloc=host)), safe="".join(map(chr, range(128)))), None


def slow_read(data):
    """Return (url, page, source, text) of all usable occurrences, drops by reason, and counts."""
    found, drops, counts = [], Counter(), Counter()
    for document in slow_records(data):
        response = document["Envelope"]["Payload-Metadata"].get("HTTP-Response-Metadata")
        if response is None:
            continue
        page_url = document["Envelope"]["WARC-Header-Metadata"]["WARC-Target-URI"].strip()
        html = response["HTML-Metadata"]
        for link in html.get("Links", []):
            if link["path"] != "IMG@/src":
                continue
            before = len(found)
            for source in ("alt", "title", "data-image-title"):
                if source not in link:
                    continue
                text = unicodedata.normalize("NFC", " ".join(link[source].split()))
                url, reason = slow_url(link["url"], page_url, html["Head"].get("Base", ""))
                if not text or reason:
                    drops["empty_text" if not text else reason] += 1
                else:
                    found.append((url, page_url, source, text))
                counts[source] += bool(text)
            counts["images"] += 1
            counts["without text"] += not {"alt", "title", "data-image-title"} & set(link)
            counts["data"] += link["url"].startswith("data:")
            counts["usable"] += len(found) > before
    return found, drops, counts


def slow_pairs(occurrences, seed, max_texts):
    """Return pairs by image id from (url, page, source, text) occurrences, the duplicates and those over the cap."""
    images = defaultdict(list)
    for occurrence in occurrences:
        images[occurrence[0]].append(occurrence)
    pairs, duplicates, over_cap = {}, 0, 0
    for url, seen in images.items():
        identity = sha224(url.encode()).hexdigest()[:24]

        def rank(text, identity=identity):
            return blake2b(f"{seed}|text|{identity}|{text}".encode(), digest_size=8).digest(), text

        texts = []
        for index, text in enumerate(sorted({text for *_, text in seen}, key=rank)):
            same = [source for _, _, source, other in seen if other == text]
            if index >= max_texts:
                over_cap += len(same)
            else:
                duplicates += len(same) - 1
                texts.append({"source": min(same, key=["alt", "title", "data-image-title"].index), "text": text})
        pairs[identity] = (url, min(page for _, page, _, _ in seen), texts)
    return pairs, duplicates, over_cap
