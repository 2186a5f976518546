from __future__ import annotations

import pytest
import torch

from support.vectors import assert_close, expected, inputs
from training.models.region_teacher import RegionTeacher

GIVEN, WANTED = inputs("dclip", "teacher"), expected("dclip", "teacher")
TOKENS, REGIONS = GIVEN["tokens"].detach(), GIVEN["regions"].detach()
EVERY_TOKEN, EVERY_REGION = (torch.ones(rows.shape[:2], dtype=torch.bool) for rows in (TOKENS, REGIONS))
TOKEN_MASK, REGION_MASK = ((rows != 0).any(-1) for rows in (TOKENS, REGIONS))  # padding is zeros


@pytest.fixture
def teacher() -> RegionTeacher:
    teacher = RegionTeacher(4, GIVEN["heads"]).double()
    with torch.no_grad():
        for attention, name in ((teacher.to_regions, "t2i"), (teacher.to_tokens, "i2t")):
            attention.in_proj_weight.copy_(torch.tensor(GIVEN["weights"][f"{name}_in"], dtype=torch.float64))
            attention.out_proj.weight.copy_(torch.tensor(GIVEN["weights"][f"{name}_out"], dtype=torch.float64))
            attention.in_proj_bias.zero_()
            attention.out_proj.bias.zero_()
    return teacher


def test_attended_sides_and_embedding_equal_the_vector(teacher):
    tokens, regions = teacher.attend(TOKENS, REGIONS, EVERY_TOKEN, EVERY_REGION)
    assert_close(tokens, WANTED["attended_tokens"])
    assert_close(regions, WANTED["attended_regions"])
    assert_close(teacher(TOKENS, REGIONS, EVERY_TOKEN, EVERY_REGION), WANTED["embedding"])


def test_masked_positions_take_no_part(teacher):
    assert_close(teacher(TOKENS, REGIONS, TOKEN_MASK, REGION_MASK), WANTED["masked"])
    noise = [torch.where(mask[..., None], rows, 9.0) for rows, mask in ((TOKENS, TOKEN_MASK), (REGIONS, REGION_MASK))]
    assert_close(teacher(*noise, TOKEN_MASK, REGION_MASK), WANTED["masked"])
