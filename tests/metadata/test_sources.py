from __future__ import annotations

import pytest

from curation.errors import InputError, UsageError
from curation.io.storage import Storage
from metadata.config import MetadataSection
from metadata.dumps.splits import Split
from metadata.languages import LanguageTable
from metadata.sources import Source, find_sources, split_sources

TABLE = LanguageTable.load()


@pytest.fixture
def find(tmp_path):
    """Write empty files and return the sources that match patterns below their folder, as (code, file name)."""

    def run(files, patterns, codes=("de", "ltg")):
        for name in files:
            (tmp_path / name).write_text("x")
        section = MetadataSection(wikipedia=[pattern.replace("@", f"{tmp_path}/") for pattern in patterns])
        sources = find_sources(Storage(), section, list(codes), TABLE)
        return [(source.code, source.files[0].path.removeprefix(f"{tmp_path}/")) for source in sources]

    return run


def test_a_file_that_matches_two_patterns_is_read_once(find):
    files = ["dewiki-pages-articles1.xml.bz2", "dewiki-pages-articles2.xml.bz2", "ltgwiki.xml"]
    found = find(files, ["@{code}wiki*", "de=@dewiki-pages-articles1*", "ltg=@ltgwiki.xml"])
    assert found == [("de", files[0]), ("de", files[1]), ("ltg", files[2])]


def test_indexes_are_not_dumps(find):
    files = ["dewiki-1-pages-articles-multistream.xml.bz2", "dewiki-1-pages-articles-multistream-index.txt.bz2"]
    assert find(files, ["@{code}wiki*"]) == [("de", files[0])]


@pytest.mark.parametrize(
    "other",
    [
        "dewiki-20240501-pages-articles.xml.bz2",
        "dewiki-20240501-pages-articles-multistream.xml.bz2",
        "dewiki-20240601-pages-articles-multistream1.xml-p1p41242.bz2",
        "dewiki-latest-pages-articles-multistream1.xml-p1p41242.bz2",
        "dewiki-20240501-cirrussearch-content.json.gz",
        "dewiki_content-20260830-00000.json.bz2",
    ],
)
def test_two_dumps_of_one_wikipedia_are_refused(find, other):
    files = [
        f"dewiki-20240501-pages-articles-multistream{part}.bz2" for part in ("1.xml-p1p41242", "2.xml-p41243p151573")
    ]
    ours = [*files, "ltgwiki-20240601-pages-articles.xml.bz2", "dewiki-latest-siteinfo-namespaces.json.gz"]
    assert len(find([*ours, "dewiki-api-pages.json"], ["@{code}wiki*"])) == 5
    with pytest.raises(UsageError, match=r"dewiki.* and .*dewiki.* hold the same pages of de: name one of them"):
        find([*ours, other], ["@{code}wiki*"])


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("xx=@a", UsageError, "metadata.wikipedia: unknown language 'xx'"),
        ("@a", UsageError, "is neither code=path nor a pattern with {code}"),
        ("de=@nothing", InputError, "no file matches"),
        ("@{code}-nothing", InputError, "for any language"),
    ],
)
def test_patterns_without_files_are_refused(find, pattern, error, message):
    with pytest.raises(error) as caught:
        find([], [pattern])
    assert message in str(caught.value)


def test_only_large_dumps_are_split(tmp_path):
    files = {}
    for name, size in (("small.xml", 10), ("large.xml", 25), ("large.xml.gz", 25)):
        (tmp_path / name).write_bytes(b"x" * size)
        files[name] = Storage().stat(str(tmp_path / name))
    sources = [Source("dump", (file,), "de") for file in files.values()] + [Source("views", (files["large.xml"],))]
    found = [
        (source.kind, source.files[0].path.rpartition("/")[2], source.split) for source in split_sources(sources, 10)
    ]
    assert found == [
        ("dump", "small.xml", None),
        ("dump", "large.xml", Split(0, 8)),
        ("dump", "large.xml", Split(8, 16)),
        ("dump", "large.xml", Split(16, 25)),
        ("dump", "large.xml.gz", Split(0, 25)),
        ("views", "large.xml", None),
    ]
