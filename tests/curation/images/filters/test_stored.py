"""Stored images are judged by their scores as filters with other thresholds would judge their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.images.codec.pixels import Pixels
from curation.images.filters.apply import FilterRun
from curation.images.filters.base import DecodedImage, ImageFilter, ScoreFilter, Verdict
from curation.images.filters.stored import judged, without_thresholds
from curation.images.filters.uniformity import LowEntropy, NearUniform
from curation.images.rows import failed_row

SHARES, BITS = st.floats(0, 1), st.floats(0, 8)


class Even:
    """Keeps images with an even first byte, without a score."""

    name, version, score_range, reads_texts = "even", "1", (0.0, 1.0), False

    def __call__(self, images):
        return [Verdict(int(image.pixels[0, 0, 0]) % 2 == 0) for image in images]


def row_after(filters: list[ImageFilter], pixels: Pixels) -> dict:
    """Return the row of an image that these filters judge by its pixels."""
    run = FilterRun(filters, {"a": "text"})
    [decision] = [*run.add(0, "a", pixels).values(), *run.finish().values()]
    row = {"image_id": "a", "status": "ok", "reason": None, "image": b"jpeg"}
    return {**(failed_row("a", decision.reason) if decision.reason else row), "scores": decision.scores}


@st.composite
def images(draw) -> Pixels:
    """An image of few or many colors."""
    colors = np.array(draw(st.lists(st.integers(0, 255), min_size=1, max_size=6)), np.uint8)
    order = np.random.default_rng(draw(st.integers(0, 99))).integers(0, len(colors), (4, 4, 1))
    return Pixels(4, 4, np.repeat(colors[order], 3, axis=2).tobytes())


@given(images(), SHARES, BITS, SHARES, BITS)
def test_a_stored_image_is_judged_by_its_scores_as_its_pixels_are(pixels, old_share, old_bits, new_share, new_bits):
    old = [NearUniform(max_share=old_share), Even(), LowEntropy(min_bits=old_bits)]
    new = [NearUniform(max_share=new_share), Even(), LowEntropy(min_bits=new_bits)]
    stored = row_after(old, pixels)
    if stored["status"] == "ok":
        as_read = {**stored, "scores": list(stored["scores"].items())}  # as Arrow gives a map
        assert {**judged(as_read, new), "scores": None} == {**row_after(new, pixels), "scores": None}
        assert dict(judged(as_read, new)["scores"]) == row_after(new, pixels)["scores"]


@pytest.mark.parametrize("each", [NearUniform(max_share=0.4), LowEntropy(min_bits=1.0)])
@given(pixels=images())
def test_the_verdict_of_a_score_is_that_of_its_image(each, pixels):
    assert isinstance(each, ScoreFilter)
    [verdict] = each([DecodedImage("a", "", pixels.array())])
    assert each.verdict(verdict.score) == verdict
    others = replace(each, **dict.fromkeys(each.thresholds, 0.0))
    assert others([DecodedImage("a", "", pixels.array())])[0].score == verdict.score


def test_only_thresholds_are_left_out_of_the_settings():
    filters = [NearUniform(), Even()]
    keys = {
        "algorithm": 5,
        "filters": {
            "near_uniform": {"filter": "x:NearUniform", "max_share": 0.9, "tolerance": 8, "position": 0},
            "even": {"filter": "x:Even", "max_share": 1, "position": 1},
        },
    }
    assert without_thresholds(keys, filters) == {
        "algorithm": 5,
        "filters": {
            "near_uniform": {"filter": "x:NearUniform", "tolerance": 8, "position": 0},
            "even": {"filter": "x:Even", "max_share": 1, "position": 1},
        },
    }
    assert without_thresholds({"algorithm": 5}, filters) == {"algorithm": 5, "filters": {}}
