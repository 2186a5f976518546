"""A row of an input names files below its roots and nothing else, however it spells them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.images.failures import FetchError
from curation.images.refs.read import ImageRefs, open_local
from curation.images.refs.roots import RefRoots
from curation.io.paths import folder_of

BODY = b"picture"


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A folder `in` of inputs between files that no row may read, with links, pipes and devices in it."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "in" / "deep").mkdir(parents=True)
    (folder / "in2").mkdir()
    for name in (
        "secret.png",
        "in2/secret.png",
        "in/a.png",
        "in/deep/a.png",
        "in/a#b.png",
        "in/..a.png",
        "in/rows.jsonl",
    ):
        (folder / name).write_bytes(BODY)
    (folder / "in" / "out.png").symlink_to(folder / "secret.png")
    (folder / "in" / "out").symlink_to(folder)
    (folder / "in" / "here.png").symlink_to(folder / "in" / "a.png")
    (folder / "in" / "null.png").symlink_to("/dev/null")
    os.mkfifo(folder / "in" / "pipe.png")
    (folder / "alias").symlink_to(folder / "in")
    return folder


def reading(roots: RefRoots) -> ImageRefs:
    return ImageRefs(roots.guard(open_local), max_bytes=1000)


def reason_of(roots: RefRoots, reference: str) -> str:
    with pytest.raises(FetchError) as caught:
        reading(roots).read(reference)
    return caught.value.reason


def roots_in(house: Path) -> RefRoots:
    return RefRoots.of_inputs(None, [str(house / "in" / "rows.jsonl")])


@pytest.mark.parametrize(
    "name", ["in/a.png", "in/deep/a.png", "in/a#b.png", "in/..a.png", "in/./a.png", "in//a.png", "in/here.png"]
)
def test_files_beside_and_below_the_input_are_read(house, name):
    assert roots_in(house).allows(f"{house}/{name}")
    assert reading(roots_in(house)).read(f"{house}/{name}") == BODY


@pytest.mark.parametrize(
    "name",
    ["secret.png", "in2/secret.png", "in/../secret.png", "in/deep/../a.png", "in", "in/deep/../../in2/secret.png"],
)
def test_other_files_are_refused_by_their_names(house, name):
    assert not roots_in(house).allows(f"{house}/{name}")
    assert reason_of(roots_in(house), f"{house}/{name}") == "ref_refused"


@pytest.mark.parametrize(
    "name", ["in/out.png", "in/out/secret.png", "in/null.png", "in/pipe.png", "in/deep", "in/out/in2/none.png"]
)
def test_links_to_other_files_and_what_is_not_a_file_are_refused_without_waiting(house, name):
    reasons: list[str] = []
    thread = threading.Thread(target=lambda: reasons.append(reason_of(roots_in(house), f"{house}/{name}")), daemon=True)
    thread.start()
    thread.join(5)
    assert reasons == ["ref_refused"]


def test_a_missing_file_below_the_root_is_missing(house):
    assert reason_of(roots_in(house), f"{house}/in/none.png") == "ref_missing"
    assert reason_of(roots_in(house), f"{house}/in/none.tar#a.png") == "ref_missing"


def test_the_roots_are_configured(house):
    assert reading(RefRoots.of_inputs([str(house)], [])).read(f"{house}/secret.png") == BODY
    assert reading(RefRoots.of_inputs([str(house) + "/in/"], [])).read(f"{house}/in/a.png") == BODY
    assert reading(RefRoots.of_inputs(["/"], [])).read(f"{house}/secret.png") == BODY
    assert reason_of(RefRoots.of_inputs([], [str(house / "in" / "x.jsonl")]), f"{house}/in/a.png") == "ref_refused"


def test_a_root_that_is_a_link_allows_both_its_names(house):
    roots = RefRoots.of_inputs([str(house / "alias")], [])
    for name in ("alias/a.png", "in/a.png"):
        assert reading(roots).read(f"{house}/{name}") == BODY
    assert reason_of(roots, f"{house}/secret.png") == "ref_refused"


def test_relative_inputs_allow_relative_references(house, monkeypatch):
    monkeypatch.chdir(house / "in")
    roots = RefRoots.of_inputs(None, ["rows.jsonl"])
    assert reading(roots).read("deep/a.png") == BODY
    assert reason_of(roots, "../secret.png") == "ref_refused"


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP", "Https", "ftp", "file", "gs", "S3"])
def test_no_url_is_opened(scheme):
    roots = RefRoots.of_inputs(["/", ".", "s3://bucket"], ["rows.jsonl", "https://a.example/x.parquet"])
    opened: list[str] = []
    for rest in ("127.0.0.1/a.png", "/etc/passwd", "169.254.169.254/latest#x", "a.example/y.tar#a.png", "bucket/a.png"):
        assert not roots.allows(f"{scheme}://{rest}")
        with pytest.raises(FetchError, match="ref_refused"):
            ImageRefs(roots.guard(opened.append), max_bytes=1).read(f"{scheme}://{rest}")
    assert not opened


def test_members_and_rows_of_an_input_are_read_wherever_it_is():
    roots = RefRoots.of_inputs([], ["https://a.example/x.parquet", "s3://b/y.tar", "/data/z.tar"])
    for reference in ("https://a.example/x.parquet#7", "s3://b/y.tar#a/../b.png", "/data/z.tar#../b.png"):
        assert roots.allows(reference)
    for reference in (
        "https://a.example/x.parquet2#7",
        "https://a.example/y.parquet#7",
        "s3://b/z.tar#a.png",
        "/data/z.tar",
    ):
        assert roots.allows(reference) == (reference == "/data/z.tar")


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_a_reference_names_a_signed_url_without_its_signature(kind):
    url = f"https://a.example/x.{kind}?versionId=3&X-Amz-Signature=abc"
    name = f"https://a.example/x.{kind}?versionId=3&X-Amz-Signature=REDACTED"
    roots = RefRoots.of_inputs([], [name, url])
    opened: list[str] = []

    def recording(path: str):
        opened.append(path)
        raise FileNotFoundError

    assert roots.allows(f"{name}#7")
    with pytest.raises(FetchError, match="ref_missing"):
        ImageRefs(roots.guard(recording), max_bytes=1).read(f"{name}#7")
    assert opened == [url]
    assert not roots.allows(f"{url.replace('=3', '=4')}#7")


@pytest.mark.parametrize(
    ("reference", "allowed"),
    [
        ("s3://b/in/a.png", True),
        ("s3://b/in/deep/a.tar#x.png", True),
        ("s3://b/in2/a.png", False),
        ("s3://b/in/../secret.png", False),
        ("s3://other/in/a.png", False),
        ("s3://b/in", False),
        ("/b/in/a.png", False),
        ("b/in/a.png", False),
    ],
)
def test_objects_are_allowed_below_the_prefix_of_their_input(reference, allowed):
    assert RefRoots.of_inputs(None, ["s3://b/in/rows.jsonl"]).allows(reference) == allowed


def test_the_folder_of_an_input():
    paths = ("a.jsonl", "/a.jsonl", "in/a.jsonl", "s3://b/a.jsonl", "https://h/a.jsonl")
    assert [folder_of(path) for path in paths] == [".", "/", "in", "s3://b", None]


PARTS = st.sampled_from(
    ["..", ".", "", "in", "in2", "deep", "out", "a.png", "secret.png", "out.png", "x.tar#..", "#", "\0", "\ud800", "~"]
)


@given(
    st.lists(PARTS, max_size=8),
    st.sampled_from(["{house}/in/", "{house}/", "", "/", "{house}/in/out/", "{house}/alias/", "//"]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_opened_is_a_regular_file_below_the_root(house, parts, start):
    reference = start.format(house=house) + "/".join(parts)
    roots = roots_in(house)
    opened: list[str] = []

    def recording(path: str):
        opened.append(path)
        return open_local(path)

    try:
        ImageRefs(roots.guard(recording), max_bytes=1000).read(reference)
    except FetchError as error:
        assert error.reason in {"ref_refused", "ref_missing", "ref_unreadable"}  # noqa: PT017 - either outcome is right
    for path in opened:
        assert Path(path).resolve().is_relative_to(house / "in")
        assert Path(path).is_file()
