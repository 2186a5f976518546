"""Steps count the occurrences they drop, note those they change, and leave the others unchanged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curation.filters.base import Keep, Note, Rewrite, sample_of_images
from curation.filters.text_quality import without_entities
from curation.occurrence import Counters
from support.filters import apply_steps, occurrences_with


def test_drops_are_counted_and_changes_are_noted():
    steps = [
        Rewrite("entities", without_entities),
        Note("long", lambda text: len(text) > 8),
        Keep("too_short", lambda o: len(o.text) > 2),
    ]
    left, counters = apply_steps(
        steps, occurrences_with(["a &amp; b", "&nbsp;", "ab", "&lt;", "plain text", "  &eacute;t&eacute;"])
    )
    assert left == ["a & b", "plain text", "été"]
    assert counters.drops == {"empty_text": 1, "too_short": 2}
    assert counters.notes == {"entities": 4, "long": 1}
    assert counters.samples["too_short"] == ["http://h/2", "http://h/3"]


@given(st.lists(st.text(max_size=3), max_size=3000), st.integers(0, 3))
def test_every_occurrence_is_kept_or_dropped(texts, least):
    left, counters = apply_steps([Keep("too_short", lambda o: len(o.text) >= least)], occurrences_with(texts))
    assert left == [text for text in texts if len(text) >= least]
    assert counters.drops.total() == len(texts) - len(left)


def test_a_larger_sample_of_images_includes_the_smaller_one():
    occurrences = occurrences_with(["x"] * 2000)
    small, large = ({o.image_url for o in sample_of_images(share, 0)(occurrences, Counters())} for share in (0.1, 0.3))
    assert small < large
    assert 150 < len(small) < 250
