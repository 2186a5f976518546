from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curation.cli.lists import split_names

NAMES = st.text(st.sampled_from("ab -é"), min_size=1).map(str.strip).filter(bool)
SPACES = st.text(st.sampled_from(" \t"), max_size=2)


@given(st.lists(st.tuples(SPACES, NAMES | st.just(""), SPACES)))
def test_names_come_back_without_blanks_around_them_and_without_empty_ones(parts):
    text = ",".join("".join(part) for part in parts)
    assert split_names(text) == tuple(name for _, name, _ in parts if name)
