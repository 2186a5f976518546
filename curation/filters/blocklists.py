"""Block lists of hosts and URL prefixes, and of phrases in one language.

Lists are text files with one entry per line; empty lines and lines that start with `#` are ignored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from curation.filters.base import drop
from curation.matching.matcher import Matcher
from curation.occurrence import Counters, Occurrence
from curation.urls import UrlError, host, normalize_url

ANY_LANGUAGE = "all"


def entries(data: bytes) -> list[str]:
    """Return the entries of a block list."""
    lines = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


class UrlBlockList:
    """Matches URLs against blocked hosts, with their subdomains (`example.com`), and blocked path prefixes on hosts.

    `example.com/private` and `https://example.com/private` are the same entry: the scheme is ignored.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._paths: defaultdict[str, list[str]] = defaultdict(list)
        for line in lines:
            try:
                url = normalize_url(line if "://" in line else f"http://{line}", None)
            except UrlError:
                continue  # not a URL
            self._paths[host(url)].append(_path(url))

    def __call__(self, url: str | None) -> bool:
        """Return whether a normalized URL is blocked."""
        if url is None:
            return False
        name = host(url).removesuffix(".")  # the name of the root zone
        while name:
            if name in self._paths and any(_path(url).startswith(path) for path in self._paths[name]):
                return True
            name = name.partition(".")[2]
        return False


class TextBlockList:
    """A step that drops texts with a blocked phrase of their language (`blocked_text`).

    Phrases match like metadata entries, as whole words in scripts that separate words, but ignoring case. The language
    is identified only for texts that contain a phrase. Phrases of the list `all` are blocked in every language.
    """

    def __init__(
        self, phrases: Mapping[str, Sequence[str]], identify: Callable[[Sequence[str]], Sequence[str]]
    ) -> None:
        self._matchers = {
            lang: Matcher.build(sorted({line.casefold() for line in lines}), "worldwide")
            for lang, lines in phrases.items()
        }
        self._identify = identify

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the occurrences whose texts contain no blocked phrase."""
        hits = {text: self._languages(text) for text in dict.fromkeys(o.text for o in batch)}
        undecided = [text for text, langs in hits.items() if langs and ANY_LANGUAGE not in langs]
        langs_of = dict(zip(undecided, self._identify(undecided), strict=True)) if undecided else {}
        blocked = {text for text, langs in hits.items() if ANY_LANGUAGE in langs or (langs and langs_of[text] in langs)}
        drop(counters, "blocked_text", [o for o in batch if o.text in blocked])
        return [o for o in batch if o.text not in blocked]

    def _languages(self, text: str) -> set[str]:
        folded = text.casefold()
        return {lang for lang, matcher in self._matchers.items() if matcher.match(folded)}


def _path(url: str) -> str:
    return url.partition("://")[2].partition("/")[2]
