"""Every row of the shards is in one file of the export, and files are as large as asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curation.export.formats import FORMATS
from curation.lake.files import DataFile
from jobs.tasks.export.parts import plan_parts

FILES = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 100_000)), max_size=6)


@given(FILES, st.sampled_from(sorted(FORMATS)), st.integers(1, 200_000))
def test_the_parts_are_the_rows_in_order_each_filled_up_to_the_limit(sizes, name, limit):
    kind = FORMATS[name]
    files = [DataFile(str(n), size, rows, {}) for n, (rows, size) in enumerate(sizes)]
    parts = plan_parts(files, kind, limit)

    rows = [(part.path, row) for slices in parts for part in slices for row in range(part.start, part.stop)]
    assert rows == [(file.path, row) for file in files for row in range(file.rows)]

    # the same cuts, one row at a time
    cost = {f.path: kind.row_bytes + (-(-f.size // f.rows) if kind.images and f.rows else 0) for f in files}
    counts, room = [0], limit
    for path, _ in rows:
        if counts[-1] and cost[path] > room:
            counts.append(0)
            room = limit
        counts[-1] += 1
        room -= cost[path]
    assert [sum(part.stop - part.start for part in slices) for slices in parts] == counts
