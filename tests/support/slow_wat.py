"""Slow oracles: WAT reading with gzip, json and urllib, a whole file at a time, and grouping as defined."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections import Counter, defaultdict
from hashlib import blake2b, sha224
from urllib.parse import quote, urldefrag, urljoin, urlsplit


def slow_records(data):
    data = gzip.decompress(data)
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        length = int(fields["Content-Length"])
        if fields["WARC-Type"] == "metadata":
            yield json.loads(data[:length])
        data = data[length + 4 :]


def slow_path(path):
    """Return a path without dot segments, one segment at a time."""
    kept = []
    segments = path.split("/")[1:]
    for place, segment in enumerate(segments):
        dots = segment.lower().replace("%2e", ".")
        if dots == "..":
            del kept[-1:]
        if dots not in (".", ".."):
            kept.append(segment)
        elif place == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def slow_join(base, url):
    """Resolve as the URL standard does: `urljoin` drops empty segments of paths, so they are named temporarily."""
    url = re.sub(r"^(https?:)[/\\]*(?=[^/\\])", r"\1//", url)
    base, url = (re.sub(r"(?<=[^:/])//", "/-empty-/", part) for part in (base, url))
    return urljoin(base, url).replace("/-empty-/", "//")


def slow_url(url, page_url, base):
    """Return the URL that the standard gives, or None and the reason; enough of it for the URLs of real pages."""
    url = url.strip("".join(map(chr, range(33)))).translate({9: None, 10: None, 13: None})
    if url.lower().startswith("data:"):
        return None, "data_uri"
    if url == "" or url.startswith("#") or url.lower().startswith("about:"):
        return None, "no_reference"
    relative = not urlsplit(url).scheme
    path, mark, query = urldefrag(url)[0].partition("?")
    joined, _ = urldefrag(slow_join(slow_join(page_url, base), path.replace("\\", "/") + mark + query))
    parts = urlsplit(joined)
    if parts.scheme not in ("http", "https"):
        return None, "unresolvable" if relative else "scheme"
    host = parts.netloc.lower().encode("idna").decode()
    if not host.partition(":")[0]:
        return None, "unresolvable"
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if parts.scheme == scheme:
            host = host.removesuffix(port)
    ascii_only = "".join(map(chr, range(33, 127)))
    query = quote(parts.query, safe=re.sub("[\"#<>']", "", ascii_only))
    path = quote(slow_path(parts.path or "/"), safe=re.sub('["#<>?^`{}]', "", ascii_only))
    whole = f"{parts.scheme}://{host}{path}" + ("?" + query if "?" in joined else "")
    return (None, "no_reference") if whole == urldefrag(page_url)[0] else (whole, None)


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
