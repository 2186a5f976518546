"""Artwork is found by code points, and held-out artwork that looks like trained artwork is not measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from proof.artwork import Artwork, concept_of, concept_of_text, read_gallery, separate
from proof.names import read_names

CONCEPTS = {"1f408", "1f415", "1f3e0", "2600", "1f5bc"}


@pytest.mark.parametrize(
    ("text", "concept"),
    [("🐈", "1f408"), ("☀️", "2600"), ("🐈‍⬛", "1f408-200d-2b1b"), ("#️⃣", "23-20e3"), ("👋🏽", None)],
)
def test_a_concept_has_no_variation_selectors_and_no_skin_tone(text, concept):
    assert concept_of_text(text) == concept


def test_code_points_of_packages_are_read_with_leading_zeros():
    assert concept_of("0023-FE0F-20e3") == "23-20e3"


def test_a_gallery_has_each_concept_in_every_style(parameters):
    names = read_names(parameters)
    gallery = read_gallery(parameters, set(names["en"]))
    assert set(gallery.concepts) == CONCEPTS
    for concept in CONCEPTS:
        assert {art.style for art in gallery.trained[concept]} == {"noto", "noto-v1", "fluent-flat", "fluent-3d"}
        assert {art.style for art in gallery.held_out[concept]} == {"twemoji", "openmoji"}
    hashes = [art.sha256 for arts in (*gallery.trained.values(), *gallery.held_out.values()) for art in arts]
    assert len(set(hashes)) == len(hashes) == 6 * len(CONCEPTS)
    assert all(art.picture.size == (96, 96) and art.picture.mode == "RGBA" for art in gallery.trained["1f408"])


def noise(seed: int) -> Image.Image:
    return Image.effect_noise((96, 96), 90 + seed).convert("RGBA")


def test_a_copy_of_trained_artwork_under_another_concept_is_removed():
    copied, other = noise(1), noise(2)
    trained = {"a": [Artwork("a", "noto", "1", copied)]}
    held_out = {"b": [Artwork("b", "twemoji", "2", copied), Artwork("b", "openmoji", "3", other)]}
    different, removed = separate(held_out, trained, 4)
    assert [art.sha256 for art in different["b"]] == ["3"]
    assert [(one.sha256, two.sha256) for one, two in removed] == [("2", "1")]


@given(st.integers(0, 64))
def test_artwork_is_removed_exactly_if_its_hash_is_near(radius):
    trained = {"a": [Artwork("a", "noto", "1", Image.linear_gradient("L").resize((96, 96)).convert("RGBA"))]}
    held_out = {"a": [Artwork("a", "twemoji", "2", Image.radial_gradient("L").resize((96, 96)).convert("RGBA"))]}
    distance = (int(trained["a"][0].phash, 16) ^ int(held_out["a"][0].phash, 16)).bit_count()
    different, removed = separate(held_out, trained, radius)
    assert bool(removed) == (distance <= radius) == (not different)
