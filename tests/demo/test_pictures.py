from __future__ import annotations

from random import Random

import numpy as np
import pytest

from demo.pictures import KIND_PAINTERS, arc, draw_banner, draw_picture
from demo.scenes import SCENE_PAINTERS, vary
from demo.words import KINDS, SCENES


def test_every_kind_and_scene_can_be_drawn():
    assert tuple(KIND_PAINTERS) == KINDS
    assert tuple(SCENE_PAINTERS) == SCENES


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_depend_only_on_the_random_generator_and_never_repeat(kind):
    drawn = [draw_picture(Random(seed), kind, SCENES[seed % 10], 72).tobytes() for seed in range(40)]
    assert len(set(drawn)) == 40
    assert drawn[:3] == [draw_picture(Random(seed), kind, SCENES[seed], 72).tobytes() for seed in range(3)]


@pytest.mark.parametrize("side", [64, 80, 96])
def test_pictures_have_the_requested_size(side):
    assert draw_picture(Random(1), "key", "snow", side).size == (side, side)
    assert draw_banner(Random(1), 2 * side, side).size == (2 * side, side)


def test_kinds_can_be_classified_from_raw_pixels():
    """A nearest-mean classifier on 8x8 thumbnails must clearly beat chance; otherwise no small model could learn."""
    rng = Random(7)
    pictures = {kind: [thumbnail(rng, kind) for _ in range(40)] for kind in KINDS}
    means = np.stack([np.mean(seen[:30], axis=0) for seen in pictures.values()])
    correct = [
        np.argmin(((means - picture) ** 2).sum(axis=1)) == number
        for number, seen in enumerate(pictures.values())
        for picture in seen[30:]
    ]
    assert np.mean(correct) > 6 / len(KINDS)


def thumbnail(rng, kind):
    picture = draw_picture(rng, kind, rng.choice(SCENES), 64)
    return np.asarray(picture.resize((8, 8)), dtype=float).ravel()


def test_the_points_of_an_arc_are_on_its_ellipse():
    for x, y in arc(1, 2, 3, 0.5, -30, 250):
        assert ((x - 1) / 3) ** 2 + ((y - 2) / 0.5) ** 2 == pytest.approx(1)


def test_varied_colors_stay_in_range():
    rng = Random(0)
    for _ in range(100):
        assert all(0 <= channel <= 255 for channel in vary(rng, (0, 128, 255), 60))
