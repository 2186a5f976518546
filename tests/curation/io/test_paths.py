from __future__ import annotations

import pytest

from curation.errors import UsageError
from curation.io.paths import join, normalize_path, scheme_of, split_glob, split_s3


def test_an_s3_location_needs_a_bucket():
    assert split_s3("s3://bucket/a/b") == ("bucket", "a/b")
    with pytest.raises(UsageError, match="bucket"):
        split_s3("s3://")


def test_joining_uses_single_slashes():
    assert join("s3://b/x/", "/y/", "z") == "s3://b/x/y/z"


@pytest.mark.parametrize(
    ("location", "scheme", "normalized"),
    [
        ("./a//b/", "file", "a/b"),
        ("/a/../b", "file", "/b"),
        ("s3://b//x/", "s3", "s3://b/x"),
        ("https://h//x/", "http", "https://h//x/"),
        ("http://h/x", "http", "http://h/x"),
    ],
)
def test_locations_are_normalized_by_their_scheme(location, scheme, normalized):
    assert scheme_of(location) == scheme
    assert normalize_path(location) == normalized


@pytest.mark.parametrize(
    ("pattern", "folder", "glob"),
    [
        ("/a/b*/c", "/a", "b*/c"),
        ("/a/b/[cd].gz", "/a/b", "[cd].gz"),
        ("*.gz", ".", "*.gz"),
        ("/*.gz", "/", "*.gz"),
        ("s3://b/x/**/y?", "s3://b/x", "**/y?"),
        ("/a[1]/b?/c*", "/a[1]/b?", "c*"),
        ("/a[1]/b?", "/a[1]/b?", ""),
        ("a/b", "a/b", ""),
    ],
)
def test_a_glob_is_expanded_from_the_folder_before_its_first_wildcard(pattern, folder, glob):
    assert split_glob(pattern, {"/a[1]", "/a[1]/b?"}.__contains__) == (folder, glob)
