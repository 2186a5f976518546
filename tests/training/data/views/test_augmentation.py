from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
from PIL import Image

from training.data.views.augmentation import augment
from training.data.views.image_operations import shift_hue, transform_affine, transform_perspective

NAMES = ("moco", "clip_italian")


def picture(seed: int = 0, side: int = 24) -> np.ndarray:
    """A smooth colored picture without symmetry."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    channels = [np.sin(3 * x * a + 2 * y * b + c) for a, b, c in rng.uniform(0.3, 1.5, (3, 3))]
    return (127 + 120 * np.stack(channels, -1)).astype(np.uint8)


def image(seed: int = 0) -> Image.Image:
    return Image.fromarray(picture(seed))


def difference(first, second) -> float:
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).max())


@pytest.mark.parametrize("name", NAMES)
def test_an_augmentation_depends_only_on_image_and_seed(name):
    results = [augment(picture(), name, seed) for seed in range(30)]
    again = [augment(picture(), name, seed) for seed in range(30)]
    assert all(np.array_equal(first, second) for first, second in zip(results, again, strict=True))
    assert all(result.shape == (24, 24, 3) and result.dtype == np.uint8 for result in results)
    assert len({result.tobytes() for result in results}) > 20


def test_an_augmentation_leaves_its_input_as_it_is():
    before = picture()
    for name in NAMES:
        given = picture()
        augment(given, name, 3)
        assert np.array_equal(given, before)


def test_one_moco_view_in_five_is_gray_and_one_in_two_mirrored():
    count = 1500
    ramp = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (24, 24, 3)).copy()
    ramp[..., 0] = 200  # red, so that gray and mirrored views are told apart from others
    views = [augment(ramp, "moco", seed) for seed in range(count)]
    gray = sum((view.max(-1) == view.min(-1)).all() for view in views)
    mirrored = sum(int(view[:, 2:4].sum()) > int(view[:, -4:-2].sum()) for view in views)
    for found, probability in ((gray, 0.2), (mirrored, 0.5)):
        assert abs(found / count - probability) < 4 * math.sqrt(probability * (1 - probability) / count)


def test_hue_turns_as_in_the_definition():
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    found = np.asarray(shift_hue(Image.fromarray(pixels), 0.25))
    for row in range(8):
        for column in range(8):
            h, s, v = colorsys.rgb_to_hsv(*(pixels[row, column] / 255))
            wanted = np.array(colorsys.hsv_to_rgb((h + 0.25) % 1, s, v)) * 255
            assert difference(found[row, column], wanted) <= 8  # hue has 256 levels


def test_no_turn_and_no_movement_change_nothing():
    still = transform_affine(image(), degrees=0, shift=(0, 0), scale=1, shear_degrees=0)
    assert difference(still, image()) == 0
    assert difference(transform_perspective(image(), [(0, 0), (24, 0), (24, 24), (0, 24)]), image()) <= 1


def test_right_angles_and_whole_pixels_move_pixels_exactly():
    turned = transform_affine(image(), degrees=90, shift=(0, 0), scale=1, shear_degrees=0)
    assert difference(turned, np.rot90(picture())) <= 1
    shifted = np.asarray(transform_affine(image(), degrees=0, shift=(5, 2), scale=1, shear_degrees=0))
    assert difference(shifted[2:, 5:], picture()[:-2, :-5]) <= 1
    assert not shifted[:2].any()


def test_a_shear_moves_rows_by_their_distance_from_the_center():
    sheared = np.asarray(transform_affine(image(), degrees=0, shift=(0, 0), scale=1, shear_degrees=45))
    assert difference(sheared[14, 8:22], picture()[14, 8 - 2 : 22 - 2]) <= 12  # 2.5 pixels to the right of the center
    assert difference(sheared[9, 2:16], picture()[9, 2 + 2 : 16 + 2]) <= 12


def test_a_perspective_moves_the_corners_where_they_belong():
    corners = [(3, 2), (21, 4), (22, 20), (1, 23)]
    moved = np.asarray(transform_perspective(Image.new("RGB", (24, 24), "white"), corners))[..., 0]
    inside = [(12, 12), (4, 4), (19, 6), (20, 18), (4, 20)]
    outside = [(0, 0), (23, 1), (23, 23), (0, 20), (10, 0)]
    assert all(moved[y, x] == 255 for x, y in inside)
    assert all(moved[y, x] == 0 for x, y in outside)
