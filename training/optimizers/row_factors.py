"""Train the rows of one matrix at different speeds, such as token embeddings that earlier languages use, too.

CLL-CLIP's TEIR (arXiv 2401.17186) multiplies gradient and weight decay of a row by 1/n. Adam cancels a constant factor
of the gradient unless the gradient is as small as eps; `step` multiplies Adam's update in its place, which is not
published.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

Factored = Literal["gradient", "decay", "step"]


class RowFactors:
    """Hooks before and after the steps of an optimizer, which may be fused AdamW.

    Args:
        optimizer: its group with the matrix has no other parameter.
        matrix: the parameter (rows, columns).
        factors: factor of each row (rows,). With `decay` and one of the others, a row with factor 0 stays as it is, bit
            for bit.
        on: what is multiplied: the gradient, the weight decay, or the optimizer's update without decay (`step`).
    """

    def __init__(self, optimizer: Optimizer, matrix: Tensor, factors: Tensor, on: Collection[Factored]) -> None:
        self._matrix, self._on = matrix, frozenset(on)
        self._factors = factors.to(matrix.device, matrix.dtype)[:, None]
        self._optimizer = optimizer
        if len(self._group["params"]) > 1:
            raise ValueError("the matrix shares its parameter group: give it a group of its own")
        self._decay = 0.0
        self._decayed: Tensor | None = None
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    @property
    def _group(self) -> dict[str, Any]:
        """The group of the matrix; loading a state makes the optimizer's groups anew."""
        return next(group for group in self._optimizer.param_groups if any(p is self._matrix for p in group["params"]))

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        """Decay the rows in place of the optimizer, scale the gradient, and remember the rows."""
        group = self._group
        self._decay, group["weight_decay"] = group["weight_decay"], 0.0
        if self._matrix.grad is None:
            return
        decay = group["lr"] * self._decay
        self._matrix.mul_(1 - decay * self._factors if "decay" in self._on else 1 - decay)
        if "gradient" in self._on:
            self._matrix.grad.mul_(self._factors)
        if "step" in self._on:
            self._decayed = self._matrix.detach().clone()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        """Scale the update, and restore the weight decay of the group."""
        self._group["weight_decay"] = self._decay
        if self._decayed is not None:
            self._matrix.copy_(self._decayed + self._factors * (self._matrix - self._decayed))
            self._decayed = None


def language_factors(
    used: Sequence[Collection[int]], *, rows: int, original_rows: int, special_ids: Collection[int]
) -> Tensor:
    """Return the factors (rows,) of token embeddings while the last of several languages is learned.

    The factor of a token is 1/n if the last language uses it, else 0. n counts the languages up to the last that use it
    (at least the last), plus 1 for tokens of the original vocabulary, whose pre-training counts as a language.

    Args:
        used: ids of the tokens that occur in each language, in the order in which the languages are learned.
        rows: size of the present vocabulary.
        original_rows: size of the vocabulary before the first language.
        special_ids: ids of start, end and other tokens, whose factor is 0.
    """
    earlier = torch.zeros(rows, dtype=torch.float64)
    earlier[:original_rows] = 1
    for ids in used[:-1]:
        earlier[sorted(ids)] += 1
    learned = torch.zeros(rows, dtype=torch.float64)
    learned[sorted(set(used[-1]) - set(special_ids))] = 1
    return learned / (earlier + 1)
