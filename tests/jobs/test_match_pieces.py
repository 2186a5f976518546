"""Counts are staged and summed in pieces of a language, so that no task gets all of a large one."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from jobs import match
from jobs.match import Piece, piece_ranges, pieces_of
from tables import counts_table

seen_entries = st.dictionaries(st.sampled_from(["de", "en", "ja"]), st.sets(st.integers(0, 20)))


@given(seen_entries, st.integers(1, 9), st.integers(1, 9))
def test_pieces_hold_every_count_once_in_order_and_no_more_than_their_size(seen, size, most):
    entries = {"de": 21, "en": 21, "ja": 21, "unseen": 4, "empty": 0}
    tables = {lang: counts_table(*((lang, i, i + 1) for i in ids)) for lang, ids in seen.items() if ids}
    default, match.PIECE = match.PIECE, size
    try:
        pieces = pieces_of(entries)
    finally:
        match.PIECE = default
    staged = [piece.of(tables) for piece in pieces]
    assert all(table.num_rows <= size for table in staged)
    expected = [tables[lang] for lang in sorted(tables)]
    assert pa.concat_tables([counts_table(), *staged]).equals(pa.concat_tables([counts_table(), *expected]))

    rows = [table.num_rows for table in staged]
    ranges = piece_ranges([rows, rows], most)
    assert [place for part in ranges for place in part] == list(range(len(pieces)))
    filled = [[rows[n] for n in part if rows[n]] for part in ranges]
    assert all(len(part) <= 1 or 2 * sum(part) <= most for part in filled)


def test_a_language_is_cut_at_fixed_entries():
    assert pieces_of({"en": match.PIECE + 1, "de": 3}) == [
        Piece("de", 0, match.PIECE),
        Piece("en", 0, match.PIECE),
        Piece("en", match.PIECE, 2 * match.PIECE),
    ]
    assert pieces_of({}) == []
    assert piece_ranges([]) == [range(0)]
    assert piece_ranges([[]]) == [range(0)]
