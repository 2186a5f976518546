from __future__ import annotations

from collections import defaultdict

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dedup.by_image import GROUPS, finish, group, merge_groups
from curation.hashing import text_hash
from curation.lake.schemas import SCHEMAS
from curation.occurrence import Counters, Occurrence
from curation.readers.file_report import FileReport
from curation.readers.wat import read_wat
from curation.urls import image_id

occurrences = st.lists(
    st.builds(
        lambda image, page, ref, source, text: Occurrence(f"http://{image}", page, ref, source, text),
        st.integers(0, 3),
        st.sampled_from([None, "p1", "p2", "p3"]),
        st.sampled_from([None, "r1", "r2"]),
        st.sampled_from(["alt", "title", "data-image-title", "caption", "b"]),
        st.sampled_from(["a", "b", "c", "d", "e", "é", "f g", "h|i"]),
    ),
    max_size=40,
)
ORDER = ["alt", "title", "data-image-title", "b", "caption"]


def slow_group(rows, seed, max_texts):
    """The definition as written: published rows, and (kept, duplicates, over_cap)."""
    images = defaultdict(list)
    for row in rows:
        images[image_id(row.image_url)].append(row)
    table, kept, duplicates, over_cap = [], 0, 0, 0
    for image, seen in sorted(images.items()):
        distinct = sorted({row.text for row in seen}, key=lambda text: (text_hash(seed, image, text), text))
        texts = []
        for rank, text in enumerate(distinct):
            same = [row for row in seen if row.text == text]
            if rank >= max_texts:
                over_cap += len(same)
                continue
            kept += 1
            duplicates += len(same) - 1
            texts.append({"source": min((row.source for row in same), key=ORDER.index), "text": text})
        pages = [row.page_url for row in seen if row.page_url]
        refs = [row.image_ref for row in seen if row.image_ref]
        table.append(
            {
                "image_id": image,
                "image_url": seen[0].image_url,
                "page_url": min(pages, default=None),
                "image_ref": min(refs, default=None),
                "texts": texts,
            }
        )
    return table, (kept, duplicates, over_cap)


def sums(counters):
    return counters.kept, counters.duplicates, counters.over_cap


@settings(deadline=None)
@given(occurrences, st.integers(0, 9), st.integers(1, 4))
def test_grouping_follows_its_definition(rows, seed, max_texts):
    table, counters = group(rows, seed, max_texts)
    assert table.schema == GROUPS
    assert (finish(table).to_pylist(), sums(counters)) == slow_group(rows, seed, max_texts)
    counters.read = len(rows)
    counters.check()


@settings(deadline=None)
@given(occurrences, st.integers(0, 9), st.integers(1, 4), st.data())
def test_rows_and_counters_do_not_depend_on_how_the_input_is_split_and_merged(rows, seed, max_texts, data):
    tables, counters = [], Counters(read=len(rows))
    rest = data.draw(st.permutations(rows))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        table, part = group(rest[:size], seed, max_texts)
        tables.append(table)
        counters += part
        rest = rest[size:]
    while len(tables) > 1:  # merge random groups until one is left
        size = data.draw(st.integers(2, len(tables)))
        table, change = merge_groups(tables[:size], seed, max_texts)
        tables = data.draw(st.permutations([table, *tables[size:]]))
        counters += change
    merged, change = merge_groups(tables, seed, max_texts)
    whole, expected = group(rows, seed, max_texts)
    assert change == Counters()
    assert merged.to_pylist() == whole.to_pylist()
    assert sums(counters) == sums(expected)
    counters.check()


def test_an_empty_merge_has_the_schema():
    empty, counters = merge_groups([], 0, 8)
    assert empty.schema == GROUPS
    assert finish(empty).schema == SCHEMAS["pairs"]
    assert (empty.num_rows, counters) == (0, Counters())


def test_real_files_grouped_separately_or_together_give_the_same_rows(shared_data):
    everything, tables, counters = [], [], Counters()
    for path in sorted(shared_data.glob("crawl/dev-*.warc.wat.gz")):
        report = FileReport(path.name)
        with path.open("rb") as stream:
            rows = list(read_wat(stream, report))
        table, part = group(rows, 0, 2)
        (report.counters + part).check()
        everything += rows
        tables.append(table)
        counters += report.counters + part
    merged, change = merge_groups(tables, 0, 2)
    whole, expected = group(everything, 0, 2)
    counters += change
    counters.check()
    assert merged.equals(whole)
    assert sums(counters) == sums(expected)
    assert merged.num_rows == 5927
    assert max(len(texts) for texts in merged["texts"].to_pylist()) == 2


def test_rows_of_unique_images_are_not_changed():
    rows = [Occurrence(None, None, f"r{i}", "alt", "t") for i in range(1000)]
    table, _ = group(rows, 0, 8)
    merged, change = merge_groups([table.slice(500), table.slice(0, 500)], 0, 8)
    assert merged.equals(table)
    assert change == Counters()
    assert isinstance(table, pa.Table)
