"""The report's examples of duplicates are pairs of the table, and none of their pictures was taken down."""

from __future__ import annotations

import io
from base64 import b64decode

import pytest
from PIL import Image

from curation.lake.tombstones import add_tombstones
from curation.report.duplicate_pairs import PairedPicture
from jobs.tasks.report.duplicates import EXAMPLES, collect_pairs
from support.duplicates import name_of, rows


def pairs_of(context):
    return collect_pairs(context.lake, {"recipe": "default", "batch": context.batch})


def file_of(picture):
    return picture.name.rpartition("/")[2]


@pytest.mark.parametrize("batch", [0, 1])
def test_examples_are_rows_of_the_table(nights, batch):
    context, names = nights[batch], name_of(nights[batch])
    own = {row["image_id"] for row in rows(context, "images")}
    expected = {
        (row["reason"], row["distance"], names[row["image_id"]], names[row["duplicate_of"]], row["duplicate_of"])
        for row in rows(context, "duplicates")
    }
    found = pairs_of(context)
    assert len(found) == len(expected) < 2 * EXAMPLES
    for pair in found:
        [row] = [row for row in expected if row[2] == file_of(pair.removed)]
        assert (pair.reason, pair.distance) == row[:2]
        if row[4] in own:
            assert file_of(pair.kept) == row[3]
        else:
            assert pair.kept == PairedPicture(row[4]), "of an earlier batch, only the id is known"
    assert [pair.reason for pair in found] == sorted((pair.reason for pair in found), reverse=True)


def test_similar_pictures_are_shown(nights):
    for pair in pairs_of(nights[0]):
        for picture in (pair.removed, pair.kept):
            assert bool(picture.source) == (pair.reason == "near")
            if picture.source:
                image = Image.open(io.BytesIO(b64decode(picture.source.partition("base64,")[2])))
                number = int("".join(filter(str.isdigit, file_of(picture))))
                scale = 2 if file_of(picture).startswith("large") else 1
                assert image.size == (scale * (24 + number % 9), scale * 20)


def test_pictures_that_were_taken_down_are_not_shown(nights):
    context = nights[0]
    first, second = [row for row in rows(context, "duplicates") if row["reason"] == "near"]
    add_tombstones(context.lake, image_ids=[first["image_id"], second["duplicate_of"]], reason="asked")
    assert [pair.reason for pair in pairs_of(context)] == ["exact"] * 3
