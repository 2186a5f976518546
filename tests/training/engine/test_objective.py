from __future__ import annotations

import copy
from functools import cache
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from curation.errors import UsageError
from support.ranks import call_on_ranks
from training.distributed import World
from training.engine.objective import Objective
from training.methods.base import Group
from training.methods.terms import InfoNCETerm, SigmoidTerm
from training.models.features import Features

PAIRS, WIDTH = 12, 5
CASES = list(product(("info_nce", "sigmoid"), (1, 3), ("all", 1, 2)))


class Encoders(nn.Module):
    """Two linear encoders of numbers, with a scale, a bias and, if asked for, dropout."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.image, self.text = nn.Linear(WIDTH, 4), nn.Linear(WIDTH, 4)
        self.scale, self.bias = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(-2.0))
        self.dropout = nn.Dropout(dropout)

    def forward(self, views) -> Features:
        image, text = self.dropout(self.image(views["image"])), self.dropout(self.text(views["text"]))
        rows = {"image": normalize(image), "text": normalize(text)}
        return Features(rows, {"scale": self.scale.exp(), "bias": self.bias})


def pairs(rows: slice = slice(None), dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {name: torch.randn(PAIRS, WIDTH, generator=generator)[rows].to(dtype) for name in ("image", "text")}


def loss_by_definition(kind: str, features: Features) -> torch.Tensor:
    """Compute a loss pair by pair."""
    images, texts, scale, bias = *features.rows.values(), *features.scalars.values()
    total = torch.zeros((), dtype=images.dtype)
    for k in range(len(images)):
        if kind == "sigmoid":
            signs = [1.0 if j == k else -1.0 for j in range(len(texts))]
            total = total + sum(
                torch.log1p(torch.exp(-sign * (scale * images[k] @ text + bias)))
                for sign, text in zip(signs, texts, strict=True)
            )
        else:
            by_text = torch.stack([scale * images[k] @ text for text in texts])
            by_image = torch.stack([scale * image @ texts[k] for image in images])
            total = total - (torch.log_softmax(by_text, 0)[k] + torch.log_softmax(by_image, 0)[k]) / 2
    return total / len(images)


@cache
def expected(kind: str, ranks: int, size: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the mean loss of all groups of ranks and its gradient, in one process and float64."""
    model = Encoders().double()
    of_group = PAIRS * ranks // size
    groups = [pairs(slice(start, start + of_group), torch.float64) for start in range(0, PAIRS, of_group)]
    losses = [loss_by_definition(kind, model(views)) for views in groups]
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in model.named_parameters()}


def losses_and_gradients(rank: int, size: int) -> list[tuple[float, dict[str, list]]]:
    results = []
    mine = slice(rank * PAIRS // size, (rank + 1) * PAIRS // size)
    for kind, parts, ranks in CASES:
        if ranks != "all" and size % ranks:
            continue
        model = Encoders()
        # plain InfoNCE does not use the bias; a real model has one for the sigmoid loss only
        model.bias.requires_grad_(kind == "sigmoid")
        parallel = DistributedDataParallel(model) if size > 1 else model
        objective = Objective(
            {kind: SigmoidTerm() if kind == "sigmoid" else InfoNCETerm()},
            Group(ranks=ranks, accumulate=parts),
            World(rank, size, torch.device("cpu")),
        )
        loss = objective.backward(parallel, pairs(mine))["loss"]
        gradients = {name: p.grad.tolist() for name, p in model.named_parameters() if p.grad is not None}
        results.append((loss.item(), gradients))
    return results


@pytest.mark.parametrize("size", [1, 2, 4])
def test_loss_and_gradient_equal_those_of_one_process_for_any_ranks_groups_and_parts(size):
    by_rank = call_on_ranks(losses_and_gradients, size)
    cases = [
        (kind, size if ranks == "all" else ranks) for kind, _, ranks in CASES if ranks == "all" or size % ranks == 0
    ]
    assert len(cases) == len(by_rank[0]) >= 8
    for number, (kind, ranks) in enumerate(cases):
        loss, gradients = expected(kind, ranks, size)
        assert sum(results[number][0] for results in by_rank) / size == pytest.approx(loss, rel=1e-5)
        for results in by_rank:
            found = results[number][1]
            assert found.keys() == {name for name in gradients if kind == "sigmoid" or name != "bias"}
            for name, values in found.items():
                assert torch.allclose(torch.tensor(values).double(), gradients[name], rtol=1e-5, atol=1e-5), name


ALONE = World(0, 1, torch.device("cpu"))
PLAIN = {"info_nce": InfoNCETerm()}


def test_both_passes_draw_the_same_random_numbers_and_the_state_goes_on_after_them():
    model = Encoders(dropout=0.5)
    oracle = copy.deepcopy(model)
    torch.manual_seed(8)
    parts = [oracle(pairs(slice(start, start + 3))) for start in range(0, PAIRS, 3)]
    after = torch.get_rng_state()
    rows = {name: torch.cat([part.rows[name] for part in parts]) for name in ("image", "text")}
    whole = Features(rows, parts[0].scalars)
    loss = loss_by_definition("info_nce", whole)
    loss.backward()

    torch.manual_seed(8)
    found = Objective(PLAIN, Group(accumulate=4), ALONE).backward(model, pairs())["loss"]
    assert found.item() == pytest.approx(loss.item(), rel=1e-5)
    assert torch.equal(torch.get_rng_state(), after)
    for ours, theirs in zip(model.parameters(), oracle.parameters(), strict=True):
        if theirs.grad is not None:
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("frozen", ["image", "text", "scale"])
def test_parts_leave_frozen_parameters_without_gradient(frozen):
    whole, in_parts = Encoders(), Encoders()
    for model, parts in ((whole, 1), (in_parts, 5)):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen))
        Objective(PLAIN, Group(accumulate=parts), ALONE).backward(model, pairs())
    for (name, ours), theirs in zip(in_parts.named_parameters(), whole.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if name.startswith(frozen):
            assert ours.grad is None
        elif theirs.grad is not None:
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_parts_are_computed_one_after_another():
    sizes = []

    class Watched(Encoders):
        def forward(self, views):
            sizes.append((len(views["image"]), torch.is_grad_enabled()))
            return super().forward(views)

    Objective(PLAIN, Group(accumulate=4), ALONE).backward(Watched(), pairs())
    assert sizes == [(3, False)] * 4 + [(3, True)] * 4


def test_a_group_that_does_not_divide_the_processes_is_refused():
    with pytest.raises(UsageError, match=r"group\.ranks: 3 does not divide the 4 processes: choose a divisor"):
        Objective(PLAIN, Group(ranks=3), World(0, 4, torch.device("cpu")))
