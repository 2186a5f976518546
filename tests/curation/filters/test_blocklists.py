"""Block lists of hosts and paths, and of phrases in their language."""

from __future__ import annotations

from curation.filters.blocklists import TextBlockList, UrlBlockList, entries
from support.filters import apply_steps, occurrences_with


def test_hosts_are_blocked_with_their_subdomains_and_paths_by_prefix():
    blocked = UrlBlockList(
        entries("# nobody\nExample.com\n\nhttps://h.org/private\nbücher.de\nh.org/x?y\n:::\n".encode())
    )
    for url in ("http://example.com/a", "https://www.example.com/", "http://h.org/private/1", "http://xn--bcher-kva.de/",
                "https://h.org/x?y=1", "http://user@example.com:8080/"):  # fmt: skip
        assert blocked(url), url
    for url in ("http://notexample.com/", "http://h.org/", "http://h.org/public", "http://example.com.evil.org/", None):
        assert not blocked(url), url


LANGS = {"die Waffe": "de", "die weapon": "en", "武器を買う": "ja", "оружие": "ru", "a weapon": "en", "nice": "en"}


def test_phrases_are_blocked_only_in_their_language():
    asked = []

    def identify(texts):
        asked.extend(texts)
        return [LANGS[text] for text in texts]

    step = TextBlockList({"de": ["die"], "ja": ["武器"], "ru": ["Оружие"], "all": ["WEAPON"]}, identify)
    left, counters = apply_steps([step], occurrences_with(list(LANGS)))
    assert left == ["nice"]
    assert counters.drops == {"blocked_text": 5}
    assert sorted(asked) == sorted(["die Waffe", "武器を買う", "оружие"])
    only_german = TextBlockList({"de": ["die"]}, lambda texts: ["en"] * len(texts))
    assert apply_steps([only_german], occurrences_with(["die hard", "diesel"]))[0] == ["die hard", "diesel"]
