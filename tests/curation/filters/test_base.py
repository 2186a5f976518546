"""Steps between reading and grouping: what they drop is counted, what they change is noted, nothing else is touched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curation.filters.base import Keep, Note, Rewrite, apply, sample_of_images
from curation.filters.blocklists import TextBlockList, UrlBlockList, entries
from curation.filters.text_quality import without_entities
from curation.occurrence import Counters, Occurrence


def seen(texts, url="http://h/{}"):
    return [Occurrence(url.format(n), "http://p/", None, "alt", text) for n, text in enumerate(texts)]


def through(steps, occurrences):
    counters = Counters(read=len(occurrences))
    left = list(apply(iter(occurrences), steps, counters))
    counters.kept = len(left)
    counters.check()
    return [o.text for o in left], counters


def test_what_is_dropped_is_counted_and_what_is_changed_is_noted():
    steps = [
        Rewrite("entities", without_entities),
        Note("long", lambda text: len(text) > 8),
        Keep("too_short", lambda o: len(o.text) > 2),
    ]
    left, counters = through(steps, seen(["a &amp; b", "&nbsp;", "ab", "&lt;", "plain text", "  &eacute;t&eacute;"]))
    assert left == ["a & b", "plain text", "été"]
    assert counters.drops == {"empty_text": 1, "too_short": 2}
    assert counters.notes == {"entities": 4, "long": 1}
    assert counters.samples["too_short"] == ["http://h/2", "http://h/3"]


@given(st.lists(st.text(max_size=3), max_size=3000), st.integers(0, 3))
def test_every_occurrence_is_left_or_dropped(texts, least):
    left, counters = through([Keep("too_short", lambda o: len(o.text) >= least)], seen(texts))
    assert left == [text for text in texts if len(text) >= least]
    assert counters.drops.total() == len(texts) - len(left)


def test_a_larger_sample_of_images_holds_the_smaller_one():
    occurrences = seen(["x"] * 2000)
    small, large = ({o.image_url for o in sample_of_images(share, 0)(occurrences, Counters())} for share in (0.1, 0.3))
    assert small < large
    assert 150 < len(small) < 250


# Block lists


def test_hosts_are_blocked_with_their_subdomains_and_paths_by_their_beginning():
    blocked = UrlBlockList(
        entries("# nobody\nExample.com\n\nhttps://h.org/private\nbücher.de\nh.org/x?y\n:::\n".encode())
    )
    for url in ("http://example.com/a", "https://www.example.com/", "http://h.org/private/1", "http://xn--bcher-kva.de/",
                "https://h.org/x?y=1", "http://user@example.com:8080/"):  # fmt: skip
        assert blocked(url), url
    for url in ("http://notexample.com/", "http://h.org/", "http://h.org/public", "http://example.com.evil.org/", None):
        assert not blocked(url), url


LANGS = {"die Waffe": "de", "die weapon": "en", "武器を買う": "ja", "оружие": "ru", "a weapon": "en", "nice": "en"}


def test_phrases_are_blocked_in_their_language_only():
    asked = []

    def identify(texts):
        asked.extend(texts)
        return [LANGS[text] for text in texts]

    step = TextBlockList({"de": ["die"], "ja": ["武器"], "ru": ["Оружие"], "all": ["WEAPON"]}, identify)
    left, counters = through([step], seen(list(LANGS)))
    assert left == ["nice"]
    assert counters.drops == {"blocked_text": 5}
    assert sorted(asked) == sorted(["die Waffe", "武器を買う", "оружие"])
    only_german = TextBlockList({"de": ["die"]}, lambda texts: ["en"] * len(texts))
    assert through([only_german], seen(["die hard", "diesel"]))[0] == ["die hard", "diesel"]
