from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.images.codec.geometry import fit

sides = st.integers(1, 70_000)
LONGEST = 65_500
MODES = ("keep_ratio", "border", "center_crop", "max_area", "none")


@given(st.tuples(sides, sides), st.sampled_from(MODES), st.integers(1, 4000))
@settings(max_examples=500, deadline=None)
def test_nothing_is_enlarged_and_the_aspect_ratio_is_kept_to_a_pixel(size, mode, side):
    scaled, canvas = fit(size, mode, side, LONGEST)
    assert all(1 <= a <= b for a, b in zip(scaled, size, strict=True))
    assert 1 <= max(canvas) <= LONGEST
    for i in (0, 1):
        ratio = Fraction(scaled[i], size[i])
        assert abs(scaled[1 - i] - max(1, size[1 - i] * ratio)) <= 1 + Fraction(size[1 - i], size[i])


@given(st.tuples(sides, sides), st.integers(1, 4000))
@settings(max_examples=300, deadline=None)
def test_each_mode_meets_its_bound_and_leaves_what_meets_it(size, side):
    results = {mode: fit(size, mode, side, LONGEST) for mode in MODES}
    assert max(results["keep_ratio"].canvas) == min(max(size), side)
    assert results["keep_ratio"].scaled == results["border"].scaled
    assert results["border"].canvas == (side, side)
    crop = results["center_crop"]
    assert crop.canvas == tuple(min(side, s) for s in size) or max(size) > LONGEST
    assert all(a <= b for a, b in zip(crop.canvas, crop.scaled, strict=True))
    width, height = results["max_area"].canvas
    assert width * height <= max(side * side, 1) or min(width, height) == 1
    if size[0] * size[1] <= side * side and max(size) <= LONGEST:
        assert (width, height) == size
    if max(size) <= LONGEST:
        assert results["none"].canvas == size


@pytest.mark.parametrize(
    ("mode", "scaled", "canvas"),
    [
        ("keep_ratio", (256, 192), (256, 192)),
        ("border", (256, 192), (256, 256)),
        ("center_crop", (341, 256), (256, 256)),
        ("max_area", (295, 221), (295, 221)),
        ("none", (800, 600), (800, 600)),
    ],
)
def test_a_photo_of_800_by_600_under_each_mode(mode, scaled, canvas):
    assert fit((800, 600), mode, 256, LONGEST) == (scaled, canvas)


def test_the_longest_side_of_the_format_bounds_every_mode():
    for mode in MODES:
        assert max(fit((70_000, 3), mode, 100_000, 16_383).canvas) <= 16_383
