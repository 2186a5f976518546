"""Rows with equal keys are no negatives of each other, and rows without a caption take no part."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from training.losses.contrastive import EqualRows, contrastive_loss
from training.losses.omni_source import VideoRows, omni_source_loss
from training.losses.sigmoid import sigmoid_loss

SCALE, BIAS = 5.0, -2.0


def unit_rows(count: int, *, parts: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [normalize(torch.randn(count, 3, generator=generator).double(), dim=-1) for _ in range(parts)]


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return sum(x * y for x, y in zip(first.tolist(), second.tolist(), strict=True))


def cross_entropy(scores: dict[int, float], targets: dict[int, float]) -> float:
    """Compute the cross entropy of candidates with these scores to targets with these probabilities."""
    total = math.log(sum(math.exp(score) for score in scores.values()))
    return sum(share * (total - scores[target]) for target, share in targets.items())


def contrast_by_definition(rows, columns, keys, rule) -> float:
    """Compute the loss row by row, from row to column."""
    losses = []
    for i in range(len(rows)):
        together = [j for j in range(len(rows)) if keys[j] == keys[i]]
        candidates = [j for j in range(len(rows)) if rule == "soft" or j == i or j not in together]
        targets = dict.fromkeys(together, 1 / len(together)) if rule == "soft" else {i: 1.0}
        losses.append(cross_entropy({j: SCALE * cosine(rows[i], columns[j]) for j in candidates}, targets))
    return sum(losses) / len(losses)


keys_of_rows = st.lists(st.integers(0, 3), min_size=1, max_size=7)


@pytest.mark.parametrize("rule", ["soft", "drop"])
@given(keys=keys_of_rows)
def test_contrastive_loss_of_rows_with_equal_keys(rule, keys):
    images, texts = unit_rows(len(keys))
    found = contrastive_loss(images, texts, torch.tensor(SCALE), equal=EqualRows(torch.tensor(keys), rule))
    both = contrast_by_definition(images, texts, keys, rule) + contrast_by_definition(texts, images, keys, rule)
    assert found.item() == pytest.approx(both / 2, rel=1e-9)


@pytest.mark.parametrize("rule", ["soft", "drop"])
def test_different_keys_change_nothing(rule):
    images, texts = unit_rows(6)
    equal = EqualRows(torch.arange(6), rule)
    plain = contrastive_loss(images, texts, torch.tensor(SCALE))
    torch.testing.assert_close(contrastive_loss(images, texts, torch.tensor(SCALE), equal=equal), plain)


@given(keys=keys_of_rows)
def test_sigmoid_loss_leaves_out_pairs_of_rows_with_equal_keys(keys):
    images, texts = unit_rows(len(keys))
    total = 0.0
    for i, image in enumerate(images):
        for j, text in enumerate(texts):
            if i == j or keys[i] != keys[j]:
                logit = SCALE * cosine(image, text) + BIAS
                total += math.log1p(math.exp(-logit if i == j else logit))
    found = sigmoid_loss(images, texts, torch.tensor(SCALE), torch.tensor(BIAS), keys=torch.tensor(keys))
    assert found.item() == pytest.approx(total / len(keys), rel=1e-9)


@given(captions=st.lists(st.booleans(), min_size=1, max_size=6))
def test_rows_without_a_caption_leave_only_the_terms_of_subtitles(captions):
    video, subtitle, caption, frame = rows = unit_rows(len(captions), parts=4)
    everyone, present = range(len(captions)), [i for i, has in enumerate(captions) if has]

    def scores(query, candidates, numbers, start=0):
        return {start + j: SCALE * cosine(query, candidates[j]) for j in numbers}

    def mean(losses):
        return sum(losses) / max(1, len(losses))

    wanted = mean([cross_entropy(scores(subtitle[i], video, everyone), {i: 1.0}) for i in everyone])
    wanted += mean([cross_entropy(scores(caption[i], video, everyone), {i: 1.0}) for i in present])
    for first, second, own, other in (
        (subtitle, caption, list(everyone), present),
        (caption, subtitle, present, list(everyone)),
    ):
        wanted += mean(
            [
                cross_entropy(
                    scores(video[i], first, own) | scores(video[i], second, [j for j in other if j != i], 100),
                    {i: 1.0},
                )
                for i in own
            ]
        )
    for first, second in ((frame, caption), (caption, frame)):
        wanted += mean([cross_entropy(scores(first[i], second, present), {i: 1.0}) for i in present])
    found = omni_source_loss(VideoRows(*rows, torch.tensor(captions)), torch.tensor(SCALE))
    assert found.item() == pytest.approx(wanted, rel=1e-9)
