"""Counts in messages agree with their nouns."""

from __future__ import annotations

import pytest

from curation.cli.counts import count


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "file", "0 files"), (1, "file", "1 file"), (2000, "file", "2,000 files"), (2, "batch", "2 batches")],
)
def test_one_is_singular_and_all_else_plural(number, noun, text):
    assert count(number, noun) == text
