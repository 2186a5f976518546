from __future__ import annotations

import contextlib
import gzip
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from curation.errors import InputError, UsageError
from curation.readers import tabular
from curation.readers.file_report import FileReport
from curation.readers.tabular import Columns, read_jsonl, read_parquet
from curation.text import clean

COLUMNS = Columns(["caption", "more"], "url", "ref", "page")
SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("ref", pa.string()),
        ("page", pa.string()),
        ("caption", pa.string()),
        ("more", pa.list_(pa.string())),
    ]
)


def jsonl(data, columns=COLUMNS):
    report = FileReport("x.jsonl")
    return list(read_jsonl(io.BytesIO(data), report, columns)), report


def parquet(data, columns=COLUMNS, row_groups=None):
    report = FileReport("x.parquet")
    return list(read_parquet(io.BytesIO(data), report, columns, row_groups)), report


def as_jsonl(values):
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def as_parquet(table, **options):
    if isinstance(table, list):
        table = pa.Table.from_pylist(table, SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def row(**values):
    return {"url": None, "ref": None, "page": None, "caption": None, "more": None, **values}


captions = st.none() | st.sampled_from(["", " ", "a", " b  c ", "é", "e\u0301"]) | st.text(max_size=5)
tables = st.lists(
    st.fixed_dictionaries(
        {
            "url": st.sampled_from(
                [None, "", "http://a.example/1", "HTTP://A.example/1#x", "2.png", "ftp://x", "data:,"]
            ),
            "ref": st.sampled_from([None, "", " a.tar#b.png ", "c.png"]),
            "page": st.sampled_from([None, "http://p.example/q/", "hard::x"]),
            "caption": captions,
            "more": st.none() | st.lists(captions, max_size=3),
        }
    ),
    min_size=1,
    max_size=8,
)


def slow_rows(table):
    """(url, page, ref, source, text) of the usable occurrences, and the number read."""
    normal = {"http://a.example/1": "http://a.example/1", "HTTP://A.example/1#x": "http://a.example/1"}
    found, read = [], 0
    for values in table:
        texts = [("caption", values["caption"]), *(("more", text) for text in values["more"] or [])]
        texts = [(source, text) for source, text in texts if text is not None]
        url = normal.get(values["url"])
        if values["url"] == "2.png" and values["page"] == "http://p.example/q/":
            url = "http://p.example/q/2.png"
        ref = (values["ref"] or "").strip() or None
        read += len(texts)
        if url or ref:
            found += [(url, values["page"], ref, source, clean(text)) for source, text in texts if clean(text)]
    return found, read


@settings(deadline=None)
@given(tables, st.integers(1, 3))
def test_both_formats_give_the_occurrences_of_the_table(table, group_rows):
    found, read = slow_rows(table)
    for occurrences, report in (
        jsonl(as_jsonl(table)),
        jsonl(gzip.compress(as_jsonl(table))),
        parquet(as_parquet(table)),
        parquet(as_parquet(table, row_group_size=group_rows)),
        parquet(as_parquet(table, use_dictionary=False, compression="zstd")),
    ):
        assert [astuple(occurrence) for occurrence in occurrences] == found
        assert all(o.reference == (o.image_url or o.image_ref) for o in occurrences)
        assert (report.counters.read, report.status) == (read, "ok")
        assert report.counters.read == len(occurrences) + report.counters.drops.total()
        assert report.counters.notes["rows"] == len(table)


def test_row_groups_can_be_read_separately():
    table = [row(ref=f"{i}.png", caption=f"text {i}") for i in range(10)]
    data = as_parquet(table, row_group_size=3)
    apart = [occurrence for group in range(4) for occurrence in parquet(data, row_groups=[group])[0]]
    assert apart == parquet(data)[0]
    assert [o.text for o in parquet(data, row_groups=[2])[0]] == ["text 6", "text 7", "text 8"]


def test_a_row_without_url_and_reference_is_dropped_with_its_texts():
    occurrences, report = jsonl(as_jsonl([row(caption="a", more=["b", None, ""])]))
    assert occurrences == []
    assert report.counters.drops == {"no_reference": 2, "empty_text": 1}


def test_a_reference_replaces_an_invalid_url():
    (occurrence,), report = jsonl(as_jsonl([row(url="1f600.png", ref="emoji.tar#1f600.png", caption="face")]))
    assert (occurrence.image_url, occurrence.page_url, occurrence.image_ref) == (None, None, "emoji.tar#1f600.png")
    assert report.counters.notes["bad_url"] == 1


def test_text_columns_may_have_many_types():
    strings = pa.array(["a", None, "b"])
    for column in (
        strings,
        strings.cast(pa.large_string()),
        strings.cast(pa.string_view()),
        strings.cast(pa.binary()),
        strings.dictionary_encode(),
        pa.array([["a"], None, ["b", None]]),
        pa.array([["a"], [], ["b"]], pa.large_list(pa.large_string())),
    ):
        table = pa.table({"url": [f"http://a.example/{i}" for i in range(3)], "text": column})
        occurrences, _ = parquet(as_parquet(table), Columns(["text"]))
        assert [(o.image_url[-1], o.text) for o in occurrences] == [("0", "a"), ("2", "b")]


# Columns


def test_a_missing_column_is_named():
    table = pa.table({"url": ["http://a.example/"], "text": ["a"]})
    for columns, missing in (
        (Columns(["txt"]), "txt"),
        (Columns(["text"], "uri"), "uri"),
        (Columns(["text"], page="page"), "page"),
        (Columns(["text"], ref="ref"), "ref"),
    ):
        with pytest.raises(UsageError, match=rf"x\.parquet: no column '{missing}', only url, text"):
            parquet(as_parquet(table), columns)
        with pytest.raises(UsageError, match=rf"x\.jsonl: no row has the column '{missing}'"):
            jsonl(as_jsonl(table.to_pylist()), columns)


def test_a_table_with_references_needs_no_url_column():
    table = pa.table({"ref": ["a.png"], "text": ["a"]})
    columns = Columns(["text"], ref="ref")
    assert len(parquet(as_parquet(table), columns)[0]) == 1
    assert len(jsonl(as_jsonl(table.to_pylist()), columns)[0]) == 1


def test_a_column_without_text_is_refused():
    table = pa.table({"url": ["http://a.example/"], "text": [5]})
    with pytest.raises(UsageError, match=r"x\.parquet: column 'text' holds int64, not text"):
        parquet(as_parquet(table), Columns(["text"]))
    with pytest.raises(UsageError, match=r"column 'texts' holds list<.*>, not text"):
        parquet(as_parquet(pa.table({"texts": [["a"]], "text": ["a"]})), Columns(["text"], "texts"))


def test_json_values_that_are_not_text_are_counted():
    rows_read = [row(url="http://a.example/", caption=5, more=["a", ["b"], {}]), row(url=7, caption="a")]
    occurrences, report = jsonl(as_jsonl(rows_read))
    assert [o.text for o in occurrences] == ["a"]
    assert report.counters.drops == {"not_text": 3, "unresolvable": 1}


def test_columns_may_be_absent_from_some_json_rows():
    occurrences, _ = jsonl(b'{"url":"http://a.example/","text":"a"}\n{"url":"http://b.example/"}\n', Columns(["text"]))
    assert len(occurrences) == 1


# Broken content

GOOD = as_jsonl([row(url="http://a.example/", caption="good")])


@pytest.mark.parametrize("line", [b"{", b"[]", b"5", b'"x"', b"\xff", b"{}" * 2, b"[" * 100_000])
def test_a_broken_line_is_noted_and_skipped(line):
    occurrences, report = jsonl(GOOD + line + b"\n" + GOOD)
    assert [o.text for o in occurrences] == ["good", "good"]
    assert (report.counters.notes["broken_record"], report.status) == (1, "ok")


def test_blank_lines_byte_order_marks_and_a_missing_last_newline_are_accepted():
    occurrences, report = jsonl(b"\xef\xbb\xbf" + GOOD + b"\n \r\n" + GOOD.replace(b"\n", b"\r\n") + GOOD.rstrip())
    assert len(occurrences) == 3
    assert report.counters.notes["broken_record"] == 0


def test_a_line_that_is_too_long_is_noted_and_skipped(monkeypatch):
    monkeypatch.setattr(tabular, "MAX_LINE", 200)
    for length in (199, 200, 201, 399, 400, 401, 1000):
        occurrences, report = jsonl(GOOD + b"x" * length + b"\n" + GOOD)
        assert len(occurrences) == 2
        assert report.counters.notes["oversized_record"] == (length > 199)
        assert report.counters.notes["broken_record"] == (length <= 199)


def test_invalid_utf8_and_lone_surrogates_are_replaced():
    line = GOOD.replace(b"good", b"a\xff\\ud800")
    occurrences, report = jsonl(line)
    assert [o.text for o in occurrences] == ["a\ufffd\ufffd"]
    assert report.counters.notes["invalid_utf8"] == 1
    column = pa.array([b"a\xff", b"ok"])
    for texts in (column, pa.array([[b"a\xff"], [b"ok"]])):
        unchecked = pa.list_(pa.string()) if pa.types.is_list(texts.type) else pa.string()
        table = pa.table({"url": ["http://a.example/"] * 2, "text": texts.cast(unchecked, safe=False)})
        occurrences, report = parquet(as_parquet(table), Columns(["text"]))
        assert [o.text for o in occurrences] == ["a\ufffd", "ok"]
        assert report.counters.notes["invalid_utf8"] == 1


def raw_texts(values, kind):
    """An array of texts whose bytes are not checked."""
    if pa.types.is_dictionary(kind):
        indices = pa.array([n if value is not None else None for n, value in enumerate(values)], kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, raw_texts([value or b"" for value in values], kind.value_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        made = pa.ListArray if pa.types.is_list(kind) else pa.LargeListArray
        return made.from_arrays(list(range(len(values) + 1)), raw_texts(values, kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(raw_texts(values, kind.value_type), 1)
    binary = pa.array(values, pa.large_binary() if pa.types.is_large_string(kind) else pa.binary())
    return binary.view(kind) if kind in (pa.string(), pa.large_string()) else binary.cast(kind)


leaves = st.sampled_from([pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
indices = st.sampled_from([pa.int8(), pa.int32(), pa.uint16()])
texts_types = leaves | st.just(pa.binary_view()) | st.builds(pa.dictionary, indices, leaves)
list_types = texts_types | st.builds(pa.list_, texts_types) | st.builds(pa.large_list, texts_types)
column_types = list_types | st.builds(lambda kind: pa.list_(kind, 1), texts_types)


@settings(deadline=None)
@given(column_types, st.lists(st.none() | st.binary(min_size=1, max_size=4), min_size=1, max_size=9), st.integers(1, 4))
def test_bad_bytes_in_a_text_column_of_any_type_cost_only_themselves(kind, values, group_rows):
    table = pa.table({"url": [f"http://a.example/{n}" for n in range(len(values))], "text": raw_texts(values, kind)})
    occurrences, report = parquet(as_parquet(table, row_group_size=group_rows), Columns(["text"]))
    expected = [(f"http://a.example/{n}", clean(v.decode(errors="replace"))) for n, v in enumerate(values) if v]
    assert [(o.image_url, o.text) for o in occurrences] == [(url, text) for url, text in expected if text]
    assert (report.status, report.counters.read) == ("ok", len(expected))


# Damaged files


def test_a_file_cut_in_mid_line_is_partial_and_its_last_line_is_not_a_broken_record():
    plain = as_jsonl([row(ref=f"{i}.png", caption=f"text {i}") for i in range(3)])
    clean_rows, _ = jsonl(plain)
    starts = [0, *(place + 1 for place, byte in enumerate(plain) if byte == 10)]
    for cut in range(len(plain) + 1):
        occurrences, report = jsonl(plain[:cut])
        assert report.counters.notes["broken_record"] == 0
        whole = cut in starts or cut + 1 in starts  # all but the last line break
        assert report.status == ("ok" if whole else "partial")
        assert occurrences == clean_rows[: sum(start <= cut + 1 for start in starts[1:])]


@given(st.integers(0, 30), st.integers(0, 30), st.booleans(), st.sampled_from(["none", "snappy"]))
def test_no_row_of_one_parquet_file_passes_for_a_row_of_the_next(first, second, indexes, compression):
    """Of two files in one, the footer describes the second, but its offsets lead into the first."""
    one, two = (
        as_parquet([row(ref=f"{name}.png", caption=name)] * count, write_page_index=indexes, compression=compression)
        for name, count in (("one", first), ("two", second))
    )
    try:
        occurrences, report = parquet(one + two)
    except InputError:
        return
    assert occurrences == []
    assert report.status == "partial" or not second


@pytest.mark.parametrize("junk", [b"\0", b"junk", b"PAR1", b"\0" * 1000])
def test_bytes_before_or_after_a_parquet_file_are_damage(junk):
    whole = as_parquet([row(ref="a.png", caption="a")])
    for data in (junk + whole, whole + junk):
        try:
            occurrences, report = parquet(data)
        except InputError as error:
            assert str(error).startswith("cannot read x.parquet: ")  # noqa: PT017 - or it is partial
        else:
            assert (occurrences, report.status) == ([], "partial")


def test_no_bytes_of_a_parquet_file_raise_an_unexpected_error():
    rng = random.Random(4)
    table = pa.table({"url": ["http://a.example/"] * 9, "caption": pa.array(list("abcdefghi")).dictionary_encode()})
    data = as_parquet(table, row_group_size=3)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with contextlib.suppress(InputError, UsageError):
            _, report = parquet(bytes(damaged), Columns(["caption"]))
            assert report.counters.read <= 9


def test_the_lines_of_a_truncated_gzip_are_read_up_to_its_end():
    plain = as_jsonl([row(ref=f"{i}.png", caption=random.Random(i).randbytes(20).hex()) for i in range(50)])
    clean_rows, _ = jsonl(plain)
    packed = gzip.compress(plain)
    for cut in range(2, len(packed), 7):
        occurrences, report = jsonl(packed[:cut])
        assert occurrences == clean_rows[: len(occurrences)]
        assert report.status == "partial"
        assert "ends early" in report.error
    assert len(jsonl(packed[: len(packed) // 2])[0]) > 15
    assert len(jsonl(packed[:-1])[0]) == 50


def test_a_column_that_may_be_in_the_damaged_part_is_not_reported_missing():
    plain = as_jsonl([{"url": "http://a.example/", "caption": f"{i}"} for i in range(99)]) + as_jsonl([{"more": "x"}])
    occurrences, report = jsonl(gzip.compress(plain)[:-20], Columns(["caption", "more"]))
    assert len(occurrences) > 1
    assert report.status == "partial"


def test_the_lines_of_a_corrupt_gzip_are_read_up_to_the_damage():
    plain = as_jsonl([row(ref=f"{i}.png", caption=random.Random(i).randbytes(20).hex()) for i in range(50)])
    packed = bytearray(gzip.compress(plain))
    middle = len(packed) // 2
    packed[middle : middle + 40] = bytes(40)
    occurrences, report = jsonl(bytes(packed))
    assert len(occurrences) > 15
    assert [o.text for o in occurrences[:15]] == [o.text for o in jsonl(plain)[0][:15]]
    assert report.status == "partial"


def test_the_rows_before_a_corrupt_parquet_page_are_read():
    table = [row(ref=f"{i}.png", caption=random.Random(i).randbytes(20).hex()) for i in range(3000)]
    data = as_parquet(table, row_group_size=1000, write_page_checksum=True, use_dictionary=False, compression="none")
    whole, _ = parquet(data)
    damaged = bytearray(data)
    offset = data.index(table[1500]["caption"].encode())
    damaged[offset] ^= 1
    occurrences, report = parquet(bytes(damaged))
    assert occurrences == whole[:1000]
    assert (report.status, report.counters.read) == ("partial", 1000)
    assert "\n" not in report.error


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all", as_parquet([row()])[:-3]])
def test_an_incomplete_parquet_file_is_an_input_error(data):
    with pytest.raises(InputError, match=r"^cannot read x\.parquet: .*") as refused:
        parquet(data)
    assert "\n" not in str(refused.value)


class Unreadable(io.RawIOBase):
    def read(self, size=-1):
        raise OSError("read failed")


def test_a_file_that_cannot_be_read_is_an_input_error():
    with pytest.raises(InputError, match=r"cannot read x\.jsonl: read failed"):
        list(read_jsonl(Unreadable(), FileReport("x.jsonl"), COLUMNS))


def test_an_empty_file_has_no_rows():
    assert jsonl(b"")[0] == []
    assert parquet(as_parquet([]))[0] == []


def test_real_captions_are_read(fixtures_dir):
    columns = Columns(["caption_reference_description"], "image_url", page="page_url")
    num_read = num_usable = 0
    for path in sorted((fixtures_dir / "iglue/datasets/wit/annotations").glob("*.jsonl")):
        report = FileReport(path.name)
        with path.open("rb") as stream:
            num_usable += sum(1 for _ in read_jsonl(stream, report, columns))
        assert report.status == "ok"
        num_read += report.counters.read
    assert (num_read, num_usable) == (14_216, 14_214)  # two captions are empty
