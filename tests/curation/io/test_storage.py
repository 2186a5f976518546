"""Storage finds files as a shell does, and writes small files atomically."""

from __future__ import annotations

import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError, UsageError
from curation.io.storage import Storage
from support.loopback import file_server, serving

storage = Storage()
NAMES = st.text(st.sampled_from("%[]*?!#a1é日 ~{}\\-^"), min_size=1, max_size=6)


@pytest.fixture
def tree(tmp_path):
    for name in ("a/1.gz", "a/2.gz", "a/b/3.gz", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*.gz", ["a/1.gz", "a/2.gz"]),
        ("a/**/*.gz", ["a/1.gz", "a/2.gz", "a/b/3.gz"]),
        ("*/?.gz", ["a/1.gz", "a/2.gz"]),
        ("a/[2-9].gz", ["a/2.gz"]),
        ("a", ["a/1.gz", "a/2.gz", "a/b/3.gz"]),
        ("c.txt", ["c.txt"]),
    ],
)
def test_patterns_name_files_as_in_a_shell(tree, pattern, found):
    assert [file.path for file in storage.expand(f"{tree}/{pattern}")] == [f"{tree}/{name}" for name in found]


@settings(max_examples=50)
@given(folder=NAMES, file=NAMES)
def test_a_path_that_exists_is_taken_literally_whatever_its_characters(tmp_path_factory, folder, file):
    root = tmp_path_factory.mktemp("inputs")
    path = root / folder / "in" / f"{file}.gz"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    for pattern in (path, root / folder, root / folder / "in", f"{root}/{folder}/in/*.gz", f"{root}/{folder}/**/*.gz"):
        assert [found.path for found in storage.expand(str(pattern))] == [str(path)], pattern
    assert storage.read_bytes(str(path)) == b"x"


def test_relative_and_absolute_globs_name_the_same_files(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert [file.path for file in storage.expand("a/*.gz")] == ["a/1.gz", "a/2.gz"]
    assert [file.path for file in storage.expand("*.txt")] == ["c.txt"]


@pytest.mark.parametrize("pattern", ["*.nothing", "nowhere", "nowhere/*.gz"])
def test_a_pattern_that_matches_nothing_is_an_input_error(tree, pattern):
    with pytest.raises(InputError, match=r"no file matches"):
        storage.expand(f"{tree}/{pattern}")


def test_a_missing_file_is_an_input_error_that_names_it(tree):
    with pytest.raises(InputError, match="nothing"):
        storage.open_input(f"{tree}/nothing")
    with pytest.raises(InputError, match="nothing"):
        storage.stat(f"{tree}/nothing")


def test_the_tag_changes_with_the_content(tree):
    before = storage.stat(f"{tree}/c.txt")
    (tree / "c.txt").write_text("something else")
    assert storage.stat(f"{tree}/c.txt").etag != before.etag


def test_exactly_one_of_several_racing_writers_creates_the_file(tmp_path):
    path, won, start = str(tmp_path / "once"), [], threading.Barrier(8)

    def race(number: int) -> None:
        start.wait()
        if storage.put_if_absent(path, str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read_bytes(path) == str(won[0]).encode()
    assert [p.name for p in tmp_path.iterdir()] == ["once"]


def test_writing_replaces_and_leaves_no_temporary_files(tmp_path):
    path = str(tmp_path / "deep" / "file")
    storage.write_bytes(path, b"1")
    storage.write_bytes(path, b"2")
    assert storage.read_bytes(path) == b"2"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["file"]


def test_deleting_a_folder_counts_its_files_and_accepts_a_missing_one(tree):
    assert storage.delete_folder(f"{tree}/a") == 3
    assert storage.delete_folder(f"{tree}/a") == 0


def test_storage_travels_to_workers_without_its_clients():
    there = pickle.loads(pickle.dumps(Storage(endpoint_url="http://127.0.0.1:1", region="x")))
    assert there == Storage(endpoint_url="http://127.0.0.1:1", region="x")


@pytest.mark.parametrize(
    "write",
    [
        lambda url: storage.write_bytes(url, b"x"),
        lambda url: storage.put_if_absent(url, b"x"),
        lambda url: storage.open_output(url),
        lambda url: storage.open_whole(url).__enter__(),
        lambda url: storage.delete_files([url]),
        lambda url: storage.delete_folder(url),
    ],
)
def test_writing_to_an_http_server_is_a_usage_error_and_writes_nowhere(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:1/a can only be read: name a folder or s3://"):
        write("http://127.0.0.1:1/a")
    assert not list(tmp_path.iterdir())


def test_a_file_on_an_http_server_exists_or_not():
    with serving(file_server({"/a?b": b"x", "/a": b"x"})) as server:
        assert storage.exists(f"{server.url}/a")
        assert not storage.exists(f"{server.url}/b")
        assert [file.size for file in storage.expand(f"{server.url}/a?b=*")] == [1]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["a=_1/p.gz", "_k=1/p.gz", "p.gz"]),
        ("*", ["p.gz"]),
        ("**", ["a=_1/p.gz", "_k=1/p.gz", "p.gz"]),
        ("_t/*", ["_t/p.gz"]),
        ("_t", ["_t/p.gz"]),
        ("_*", ["_SUCCESS"]),
        ("_SUCCESS", ["_SUCCESS"]),
    ],
)
def test_hidden_files_are_left_out_unless_they_are_named(tmp_path, pattern, names):
    for name in ("p.gz", "_SUCCESS", "_t/p.gz", "a=_1/p.gz", "_k=1/p.gz", ".h/p.gz", "_k=1/_metadata", "_t/.p.crc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [file.path for file in Storage().expand(f"{tmp_path}/{pattern}")]
    assert found == sorted(f"{tmp_path}/{name}" for name in names)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["data/readme.jsonl", "data/rows.txt", "licenses.gz"]),
        ("*", ["licenses.gz"]),
        ("*.md", ["README.md", "card.md"]),
        ("README*", ["README.md"]),
        ("README.md", ["README.md"]),
        ("data/LICENSE", ["data/LICENSE"]),
    ],
)
def test_descriptions_of_the_data_are_left_out_unless_they_are_named(tmp_path, pattern, names):
    names_here = ("README.md", "card.md", "data/LICENSE", "data/readme.jsonl", "data/rows.txt", "licenses.gz")
    for name in names_here:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [file.path for file in Storage().expand(f"{tmp_path}/{pattern}")]
    assert found == sorted(f"{tmp_path}/{name}" for name in names)
