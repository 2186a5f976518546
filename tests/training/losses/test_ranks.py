"""A loss of several processes is that of one process on all rows, and so is its gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Self

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import normalize

from support.ranks import call_on_ranks
from support.vectors import assert_close, expected, inputs
from training.data.views.word_masking import UNMASKED
from training.losses.contrastive import EqualRows, contrastive_loss
from training.losses.gather import neighbor_group
from training.losses.masked_words import masked_word_loss
from training.losses.neighbors import neighbor_loss
from training.losses.omni_source import VideoRows, omni_source_loss
from training.losses.pull import cosine_pull, mse_pull
from training.losses.sigmoid import sigmoid_loss

RANKS, GROUPS = 4, (1, 2, 4)
ROWS, WIDTH = 8, 3
SCALE, BIAS = torch.tensor(7.0).double(), torch.tensor(-3.0).double()
KEYS = torch.tensor([4, 4, 1, 2, 4, 3, 2, 9])
PRESENT = torch.tensor([True, False, True, True, False, False, False, False])
NO_ROW = torch.zeros(ROWS, dtype=torch.bool)
LABELS = torch.tensor([[1, UNMASKED, 0]] + [[UNMASKED] * 3] * 5 + [[UNMASKED, 4, UNMASKED], [2, 2, 2]])

# every case: the loss of unit rows a, b, c, d of a rank, whose row numbers are `of`
CASES: dict[str, Callable[[list[Tensor], slice, ProcessGroup | None], Tensor]] = {
    "plain": lambda x, of, group: contrastive_loss(x[0], x[1], SCALE, group),
    "soft": lambda x, of, group: contrastive_loss(x[0], x[1], SCALE, group, equal=EqualRows(KEYS[of], "soft")),
    "drop": lambda x, of, group: contrastive_loss(x[0], x[1], SCALE, group, equal=EqualRows(KEYS[of], "drop")),
    "sigmoid": lambda x, of, group: sigmoid_loss(x[0], x[1], SCALE, BIAS, group),
    "sigmoid with keys": lambda x, of, group: sigmoid_loss(x[0], x[1], SCALE, BIAS, group, keys=KEYS[of]),
    "sigmoid with negatives": lambda x, of, group: sigmoid_loss(
        x[0], x[1], SCALE, BIAS, group, negative_images=x[2], negative_texts=x[3]
    ),
    "neighbors": lambda x, of, group: neighbor_loss(x[:2], x[2:], SCALE, group),
    "videos": lambda x, of, group: omni_source_loss(VideoRows(*x), SCALE, group),
    "videos with some captions": lambda x, of, group: omni_source_loss(VideoRows(*x, PRESENT[of]), SCALE, group),
    "videos without captions": lambda x, of, group: omni_source_loss(VideoRows(*x, NO_ROW[of]), SCALE, group),
    "cosine": lambda x, of, group: cosine_pull(x[0], x[1], group=group),
    "cosine of some rows": lambda x, of, group: cosine_pull(x[0], x[1], PRESENT[of], group),
    "squares of some rows": lambda x, of, group: mse_pull(x[0], x[1], PRESENT[of], group),
    "squares of no row": lambda x, of, group: mse_pull(x[0], x[1], NO_ROW[of], group),
    "words": lambda x, of, group: masked_word_loss(x[0], LABELS[of], group),
}


def loss_and_gradients(case: str, of: slice, group: ProcessGroup | None = None) -> tuple[float, list[Tensor]]:
    generator = torch.Generator().manual_seed(6)
    raw = [torch.randn(ROWS, WIDTH, generator=generator).double().requires_grad_() for _ in range(4)]
    loss = CASES[case]([normalize(rows[of], dim=-1) for rows in raw], of, group)
    loss.backward()
    return loss.item(), [torch.zeros(ROWS, WIDTH).double() if rows.grad is None else rows.grad for rows in raw]


def part(number: int, parts: int) -> slice:
    """Return the rows of one of several equal parts."""
    return slice(number * ROWS // parts, (number + 1) * ROWS // parts)


class ByteCounter:
    """Counts the bytes that a rank receives from others in all-gather and reduce-scatter."""

    def __init__(self) -> None:
        self.forward = self.backward = 0
        self._gather, self._scatter = dist.all_gather, dist.reduce_scatter

    def __enter__(self) -> Self:
        dist.all_gather, dist.reduce_scatter = self.all_gather, self.reduce_scatter
        return self

    def __exit__(self, *_: object) -> None:
        dist.all_gather, dist.reduce_scatter = self._gather, self._scatter

    def all_gather(self, parts, part, group=None):
        self.forward += (len(parts) - 1) * part.nbytes
        return self._gather(parts, part, group=group)

    def reduce_scatter(self, summed, parts, group=None):
        self.backward += (len(parts) - 1) * summed.nbytes
        return self._scatter(summed, parts, group=group)


def grouped(rank: int, group: ProcessGroup | None) -> tuple[float, list[Tensor], int, int]:
    """Return loss, gradients, and bytes received forward and backward of one rank."""
    given = inputs("m2_encoder", "grouped_itc")
    images, texts = (normalize(given[key][part(rank, RANKS)], dim=-1) for key in ("images", "texts"))
    with ByteCounter() as counter:
        loss = contrastive_loss(images, texts, torch.tensor(given["scale"]), group)
        loss.backward()
    return loss.item(), [given["images"].grad, given["texts"].grad], counter.forward, counter.backward


def on_rank(rank: int, size: int) -> dict:
    """Return loss, gradients and more of this rank by case and number of groups; the grouped vector is one case."""
    found = {}
    for groups in GROUPS:
        group = neighbor_group(size // groups)
        for case in CASES:
            found[case, groups] = loss_and_gradients(case, part(rank, size), group)
        found["vector", groups] = grouped(rank, group)
    return {key: (loss, torch.stack(grads).tolist(), *rest) for key, (loss, grads, *rest) in found.items()}


@cache
def results() -> list[dict]:
    return call_on_ranks(on_rank, RANKS)


def mean_over_ranks(case: str, groups: int) -> tuple[float, Tensor]:
    """Return the mean of the losses, and of the gradients, as DDP would average them."""
    losses, gradients = zip(*(of_rank[case, groups][:2] for of_rank in results()), strict=True)
    return sum(losses) / RANKS, torch.tensor(gradients, dtype=torch.float64).mean(0)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_the_means_of_the_groups_in_one_process_each(case, groups):
    loss, gradients = mean_over_ranks(case, groups)
    alone = [loss_and_gradients(case, part(number, groups)) for number in range(groups)]
    assert_close(loss, sum(each for each, _ in alone) / groups)
    assert_close(gradients, torch.stack([torch.stack(grads) for _, grads in alone]).mean(0).tolist())


@pytest.mark.parametrize("groups", GROUPS)
def test_grouped_loss_equals_the_vector(groups):
    loss, gradients = mean_over_ranks("vector", groups)
    wanted = expected("m2_encoder", "grouped_itc")[str(groups)]
    assert_close(loss, wanted["loss"])
    assert_close(gradients, [wanted["d_images"], wanted["d_texts"]])


def ring_bytes(of_group: int, rows: int, width: int, number: torch.dtype) -> int:
    """Return the bytes that a rank receives when images and texts are gathered in its group."""
    return 2 * (of_group - 1) * rows * width * number.itemsize


@pytest.mark.parametrize("groups", GROUPS)
def test_bytes_received_fall_with_the_size_of_the_group(groups):
    of_group = RANKS // groups
    for of_rank in results():
        forward, backward = of_rank["vector", groups][2:]
        assert forward == backward == ring_bytes(of_group, ROWS // RANKS, WIDTH, torch.float64)
        assert forward * (RANKS - 1) == of_rank["vector", 1][2] * (of_group - 1)


def test_the_bytes_of_large_groups_are_those_of_the_vector():
    given = inputs("m2_encoder", "communication")
    for number, wanted in enumerate(expected("m2_encoder", "communication")):
        ranks, rows, width, groups = (int(given[key][number]) for key in ("ranks", "rows_per_rank", "dim", "groups"))
        received = ring_bytes(ranks // groups, rows, width, torch.float32)
        assert received == wanted["forward_bytes_received_per_rank"] == wanted["backward_bytes_received_per_rank"]


@pytest.mark.parametrize("case", ["squares of no row", "videos without captions"])
def test_a_term_without_rows_has_a_finite_gradient(case):
    loss, gradients = loss_and_gradients(case, slice(None))
    assert loss >= 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
