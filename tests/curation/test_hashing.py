from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.hashing import draw, order_hash, text_hash, u64, uniform

IMAGE = "0123456789abcdef01234567"


# Computed with coreutils: printf '%s' 'seed|purpose|key…' | b2sum -l 64
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((0, "draw", IMAGE, "a dog"), 0x7F4373D54A2DB34F),
        ((7, "text", IMAGE, "新しいカメラ"), 0x35654D5B8D4A7F26),
        ((2**40, "order", "x"), 0xE48037E0AC6876A0),
        ((-1, "text", "", ""), 0x5368435B98CDA060),
    ],
)
def test_hash_is_blake2b_64_of_the_joined_key(key, expected):
    assert u64(*key) == expected


def test_each_choice_has_its_own_purpose():
    assert text_hash(7, IMAGE, "新しいカメラ") == 0x35654D5B8D4A7F26
    assert draw(0, IMAGE, "a dog") == uniform(0x7F4373D54A2DB34F)
    assert order_hash(2**40, "x") == 0xE48037E0AC6876A0


@given(st.integers(0, 2**64 - 1))
def test_uniform_is_the_upper_53_bits_exactly(hashed):
    assert Fraction(uniform(hashed)) == Fraction(hashed >> 11, 2**53)


def test_uniform_ranges_from_zero_to_below_one():
    assert uniform(0) == 0.0
    assert uniform(2**64 - 1) == 1 - 2**-53 < 1.0


def test_draws_are_spread_evenly():
    bins = [0] * 20
    for image in range(4000):
        bins[int(draw(1, str(image), "text") * 20)] += 1
    chi_squared = sum((count - 200) ** 2 / 200 for count in bins)
    assert chi_squared < 43.8  # 19 degrees of freedom; exceeded by chance once in 1000 runs
