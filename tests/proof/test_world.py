"""The world of a seed is the same every time, follows its parameters, and shows no held-out artwork."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import pytest
from PIL import Image

from curation.readers.file_report import FileReport
from curation.readers.wat import read_wat
from proof.artwork import read_gallery
from proof.curation import picture_path, read_pictures
from proof.names import read_names
from proof.world import write_world

PICTURES = 400


def generate(parameters, folder, seed=0):
    names = read_names(parameters)
    gallery = read_gallery(parameters, set(names["en"]))
    folder.mkdir()
    write_world(parameters, gallery, names, folder, pictures=PICTURES, seed=seed)
    return gallery, names


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_seed_gives_the_same_files_and_another_seed_others_with_the_same_test_set(parameters, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        generate(parameters, tmp_path / name, seed)
    one, same, other = (digests(tmp_path / name) for name in "abc")
    assert one == same
    assert one["pictures.jsonl"] != other["pictures.jsonl"]
    held_out = {path for path in one if path.startswith("heldout/")}
    assert len(held_out) == 2 + 2 * 5
    assert all(one[path] == other[path] for path in held_out)


@pytest.fixture
def world(parameters, tmp_path):
    gallery, _ = generate(parameters, tmp_path / "world")
    return parameters, tmp_path / "world", gallery


def test_no_picture_of_the_site_shows_held_out_artwork(world):
    parameters, folder, gallery = world
    pictures, labels = read_lines(folder / "pictures.jsonl"), read_lines(folder / "heldout" / "labels.jsonl")
    assert {row["artist"] for row in pictures} == {"google", "microsoft"}
    assert {row["artist"] for row in labels} == set(parameters.held_out)
    assert not {row["artwork_sha256"] for row in pictures} & {row["artwork_sha256"] for row in labels}
    known = {art.sha256: art for arts in gallery.trained.values() for art in arts}
    for row in pictures:
        art = known[row["artwork_sha256"]]
        assert (art.concept, art.style) == (row["concept"], row["style"])


def test_languages_have_their_shares_of_the_pictures(world):
    parameters, folder, _ = world
    counts = Counter(row["lang"] for row in read_lines(folder / "pictures.jsonl"))
    total = sum(size.share for size in parameters.languages.values())
    for code, size in parameters.languages.items():
        assert counts[code] == max(1, round(PICTURES * size.share / total))


def test_kinds_of_texts_have_about_the_stated_rates(world):
    parameters, folder, _ = world
    counts = Counter(row["kind"] for row in read_lines(folder / "pictures.jsonl"))
    for kind in ("file_name", "generic", "wrong"):
        assert counts[kind] / PICTURES == pytest.approx(getattr(parameters.texts, kind), abs=0.04)


def test_crawl_files_have_every_picture_with_its_text(world):
    _, folder, _ = world
    expected = read_pictures(folder / "pictures.jsonl")
    found = set()
    for path in (folder / "crawl").iterdir():
        with path.open("rb") as stream:
            for occurrence in read_wat(stream, FileReport(path.name)):
                assert expected[picture_path(occurrence.image_url)]["text"] == occurrence.text
                found.add(picture_path(occurrence.image_url))
    assert found == set(expected)


def test_pictures_are_squares_of_the_stated_side(world):
    parameters, folder, _ = world
    for row in read_lines(folder / "pictures.jsonl")[:20]:
        with Image.open(folder / "site" / row["path"]) as image:
            assert image.size == (parameters.site.side, parameters.site.side)


def test_every_held_out_concept_has_its_name_as_prompt_and_a_caption(world):
    _, folder, gallery = world
    classes = json.loads((folder / "classes.json").read_bytes())["languages"]
    captions = json.loads((folder / "heldout" / "captions.json").read_bytes())
    assert classes["en"]["1f408"] == ["cat"]
    assert set(classes["de"]) == set(gallery.held_out)
    assert len(captions["images"]) == len(captions["captions"]["en"]) == len(gallery.held_out)
    assert all(len(texts) == 1 for texts in captions["captions"]["en"])
