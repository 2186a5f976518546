from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation.hashing import u64, uniform, uniform_column
from curation.jit.hash_columns import u64_column

texts = st.text("ab|é猫", max_size=4) | st.text(max_size=200)


@given(st.integers(), st.lists(st.tuples(texts, texts), max_size=40))
def test_hashes_of_a_column_equal_those_of_its_rows(seed, rows):
    first, second = (pa.array([None, *(row[k] for row in rows)], pa.string()).slice(1) for k in (0, 1))
    hashes = u64_column(seed, "purpose", "7", first, second)
    assert hashes.tolist() == [u64(seed, "purpose", "7", *row) for row in rows]
    assert uniform_column(hashes).tolist() == [uniform(hashed) for hashed in hashes.tolist()]


def test_texts_of_every_length_around_the_ends_of_blocks_are_hashed():
    rows = ["x" * length for length in range(400)]
    assert u64_column(0, "p", pa.array(rows)).tolist() == [u64(0, "p", row) for row in rows]
