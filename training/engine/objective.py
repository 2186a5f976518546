"""The loss of a batch and its gradient, for a batch computed at once or in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from curation.errors import UsageError
from training.distributed import World
from training.engine.term_losses import Compared, term_loss
from training.losses.gather import neighbor_group
from training.methods.base import Group
from training.methods.terms import TARGET, AnyTerm
from training.models.features import Features

Views = Mapping[str, Tensor]


class Objective:
    """Computes the loss of this rank's samples and adds its gradient to the parameters.

    Args:
        terms: the terms of the loss by name.
        group: which ranks are compared with each other, and in how many parts a batch is computed.
        world: this process among all ranks.
        precision: `bf16` computes the encoders under autocast.
        banks: earlier texts, by the name of their term.
        targets: computes the features of targets, without gradient; None: no term reads any.
    """

    def __init__(
        self,
        terms: Mapping[str, AnyTerm],
        group: Group,
        world: World,
        precision: str = "fp32",
        *,
        banks: Mapping[str, nn.Module] | None = None,
        targets: Callable[[Views], Features] | None = None,
    ) -> None:
        ranks = world.size if group.ranks == "all" else group.ranks
        if world.size % ranks:
            raise UsageError(f"group.ranks: {ranks} does not divide the {world.size} processes: choose a divisor")
        self._group = neighbor_group(ranks)
        self._terms, self._parts = terms, group.accumulate
        self._world, self._precision = world, precision
        self._banks, self._targets = banks or {}, targets

    def backward(self, towers: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the loss of this rank's samples, detached; its gradient is added to the parameters.

        The result has the weighted sum as `loss`, and, of several terms, each without its weight as `loss/TERM`.

        The loss compares the whole batch, also if it is computed in parts (GradCache, arXiv 2101.06983): a first pass
        stores the features of all parts without a graph, the loss gives their gradients, and a second pass computes
        each part again and passes these on. Random numbers are the same in both passes.

        Args:
            towers: the model, wrapped for parallel training or not.
            views: tensors of b rows by name.
        """
        if self._parts == 1:
            features = self._features(towers, views)
            losses = self._losses(features, self._stored(views, features, [views]))
            losses["loss"].backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return {name: loss.detach() for name, loss in losses.items()}
        parts = _parts_of(views, self._parts)
        states: list[list[Tensor]] = []
        computed: list[Features] = []
        with torch.no_grad():
            for part in parts:
                states.append(self._random_state())
                computed.append(self._features(towers, part))
        whole = Features(
            {name: torch.cat([part.rows[name] for part in computed]).requires_grad_() for name in computed[0].rows},
            {name: scalar.detach().clone().requires_grad_() for name, scalar in computed[0].scalars.items()},
        )
        losses = self._losses(whole, self._stored(views, whole, parts))
        losses["loss"].backward()  # type: ignore[no-untyped-call]  # as above
        start = 0
        for number, (part, state) in enumerate(zip(parts, states, strict=True)):
            is_last = number == len(parts) - 1
            rows = slice(start, start := start + _length(part))
            self._set_random_state(state)
            with nullcontext() if is_last else _without_sync(towers):
                _pass_on(self._features(towers, part), whole, rows, with_scalars=is_last)
        return {name: loss.detach() for name, loss in losses.items()}

    def _features(self, towers: Callable[[Views], Features], views: Views) -> Features:
        with torch.autocast(self._world.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            return towers(views)

    def _stored(self, views: Views, features: Features, parts: Iterable[Views]) -> dict[str, Tensor]:
        """Return what the terms read beside the features: views that are not embedded, and the features of targets."""
        stored = {name: rows.to(self._world.device) for name, rows in views.items() if name not in features.rows}
        if self._targets is None:
            return stored
        with torch.no_grad():
            found = [self._features(self._targets, part).rows for part in parts]
        return stored | {f"{TARGET}{name}": torch.cat([rows[name] for rows in found]) for name in found[0]}

    def _losses(self, features: Features, stored: Views) -> dict[str, Tensor]:
        compared = Compared(features, stored, self._banks, self._group)
        losses = {name: term_loss(name, term, compared) for name, term in self._terms.items()}
        weighted = [self._terms[name].weight * loss for name, loss in losses.items()]
        if len(weighted) == 1:
            return {"loss": weighted[0]}
        return {"loss": torch.stack(weighted).sum()} | {f"loss/{name}": loss for name, loss in losses.items()}

    def _random_state(self) -> list[Tensor]:
        on_gpu = self._world.device.type == "cuda"
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(self._world.device)] if on_gpu else [])]

    def _set_random_state(self, state: list[Tensor]) -> None:
        torch.set_rng_state(state[0])
        for gpu_state in state[1:]:
            torch.cuda.set_rng_state(gpu_state, self._world.device)


def _parts_of(views: Views, parts: int) -> list[dict[str, Tensor]]:
    """Cut the rows of all views into parts."""
    chunks = {name: rows.chunk(parts) for name, rows in views.items()}
    return [
        {name: chunk[number] for name, chunk in chunks.items()} for number in range(len(next(iter(chunks.values()))))
    ]


def _length(views: Views) -> int:
    return len(next(iter(views.values())))


def _without_sync(towers: nn.Module) -> AbstractContextManager[None]:
    """Return the context in which a parallel wrapper adds up gradients without averaging them over ranks."""
    return towers.no_sync() if isinstance(towers, DistributedDataParallel) else nullcontext()


def _pass_on(part: Features, whole: Features, rows: slice, *, with_scalars: bool) -> None:
    """Pass the gradients of the whole batch's features on to the graph of a part.

    The scalars get theirs once; encoders and scalars without trained parameters get none.
    """
    pairs = [(part.rows[name], value.grad, rows) for name, value in whole.rows.items()]
    pairs += [(part.scalars[name], value.grad, slice(None)) for name, value in whole.scalars.items() if with_scalars]
    tensors: list[Tensor] = []
    gradients: list[Tensor] = []
    for tensor, gradient, part_of in pairs:
        if gradient is not None and tensor.requires_grad:
            tensors.append(tensor)
            gradients.append(gradient[part_of] if gradient.ndim else gradient)
    torch.autograd.backward(tensors, gradients)
