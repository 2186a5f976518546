from __future__ import annotations

import gzip
import zlib
from random import Random

from fastwarc.warc import ArchiveIterator

from curation.readers.file_report import FileReport
from curation.readers.wat import read_wat
from demo.site import NIGHTS, Site
from demo.wat import write_wat


def members(data):
    """Count the gzip members of a file one by one."""
    count = 0
    while data:
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        inflate.decompress(data)
        data, count = inflate.unused_data, count + 1
    return count


def written(tmp_path, seed=1):
    pages = Site(seed, "http://127.0.0.1:18000").night(NIGHTS[0], 900)
    path = tmp_path / f"{seed}.warc.wat.gz"
    write_wat(path, pages, NIGHTS[0], Random(seed))
    return path, pages


def test_every_record_is_a_separate_gzip_member(tmp_path):
    path, pages = written(tmp_path)
    with path.open("rb") as file:
        records = [(record.headers["WARC-Type"], len(record.reader.read())) for record in ArchiveIterator(file)]
    assert members(path.read_bytes()) == len(records) > len(pages)
    assert gzip.decompress(path.read_bytes()).count(b"WARC/1.0\r\n") == len(records)
    assert [kind for kind, _ in records][:2] == ["warcinfo", "metadata"]


def test_the_reader_finds_the_pages_texts_and_the_broken_records(tmp_path):
    path, pages = written(tmp_path)
    report = FileReport(path.name)
    with path.open("rb") as file:
        texts_read = {(occurrence.page_url, occurrence.text) for occurrence in read_wat(file, report)}
    assert report.status == "ok"
    assert report.counters.notes["broken_record"] >= 1
    for page in pages:
        for link in page.links:
            texts = [" ".join(text.split()) for text in link.texts.values()]
            if link.url.startswith("http://127.0.0.1") and page.uri.startswith("http"):
                assert {(page.uri, text) for text in texts if text} <= texts_read
    assert set(report.counters.drops) == {"empty_text", "data_uri", "scheme", "unresolvable"}
    assert b'"Title": "\xff' in gzip.decompress(path.read_bytes())  # does not affect any text


def test_the_seed_determines_the_file(tmp_path):
    first, _ = written(tmp_path)
    data = first.read_bytes()
    again, _ = written(tmp_path)
    other, _ = written(tmp_path, seed=2)
    assert again.read_bytes() == data != other.read_bytes()
