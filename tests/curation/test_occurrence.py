"""Counters account for every occurrence, and survive as plain data."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from curation.errors import OutputError
from curation.occurrence import Counters


def test_counters_that_do_not_add_up_are_refused():
    for counters in (Counters(read=1), Counters(kept=1), Counters(read=1, kept=2, over_cap=-1)):
        with pytest.raises(OutputError, match="do not add up"):
            counters.check()
    Counters(read=3, kept=1, duplicates=1).__add__(Counters(drops={"empty_text": 1})).check()


def test_the_message_names_every_count():
    with pytest.raises(OutputError) as caught:
        Counters(100, 60, 0, 0, drops=Counter(not_text=30, empty_text=9)).check()
    assert str(caught.value) == (
        "counts do not add up: read 100, kept 60 + duplicates 0 + over the cap 0"
        " + dropped {'empty_text': 9, 'not_text': 30}"
    )


@pytest.fixture
def counters():
    counters = Counters(7, 1, 2, 3)
    counters.drop("scheme", ["ftp://h/a"])
    counters.notes["pages"] += 2
    return counters


def test_counters_survive_plain_data(counters):
    assert Counters.from_dict(counters.to_dict()) == counters
    assert Counters.from_dict((counters + counters).to_dict()).to_dict()["drops"] == {"scheme": 2}


def test_msgspec_encodes_and_decodes_counters(counters):
    data = msgspec.json.encode(counters)
    assert msgspec.json.decode(data) == counters.to_dict()
    decoded = msgspec.json.decode(data, type=Counters)
    assert decoded == counters
    decoded.drop("new", ["x"])  # an unknown reason starts at 0
    assert decoded.drops == {"scheme": 1, "new": 1}
