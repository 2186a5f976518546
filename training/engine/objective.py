"""The loss of a batch and its gradient, for a batch computed at once or in parts."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from curation.errors import UsageError
from training.distributed import World
from training.losses.contrastive import contrastive_loss
from training.losses.gather import neighbor_group
from training.losses.sigmoid import sigmoid_loss
from training.methods.base import Group, InfoNCE, Sigmoid
from training.models.embeddings import Embeddings


class Objective:
    """Computes the loss of this rank's pairs and adds its gradient to the parameters.

    Args:
        loss: which loss.
        group: which ranks are compared with each other, and in how many parts a batch is computed.
        world: this process among all ranks.
        precision: `bf16` computes the encoders under autocast.
    """

    def __init__(self, loss: InfoNCE | Sigmoid, group: Group, world: World, precision: str = "fp32") -> None:
        ranks = world.size if group.ranks == "all" else group.ranks
        if world.size % ranks:
            raise UsageError(f"group.ranks: {ranks} does not divide the {world.size} processes: choose a divisor")
        self._group = neighbor_group(ranks)
        self._kind, self._parts = loss.kind, group.accumulate
        self._world, self._precision = world, precision

    def backward(self, towers: nn.Module, images: Tensor, tokens: Tensor) -> Tensor:
        """Return the loss of this rank's pairs, detached; its gradient is added to the parameters.

        The loss compares the whole batch, also if it is computed in parts (GradCache, arXiv 2101.06983): a first pass
        stores the embeddings of all parts without a graph, the loss gives their gradients, and a second pass computes
        each part again and passes these on. Random numbers are the same in both passes.

        Args:
            towers: the model, wrapped for parallel training or not.
            images: uint8 (b, height, width, 3).
            tokens: ids (b, length).
        """
        if self._parts == 1:
            loss = self._loss(self._embed(towers, images, tokens))
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return loss.detach()
        parts = list(zip(images.chunk(self._parts), tokens.chunk(self._parts), strict=True))
        states: list[list[Tensor]] = []
        stored: list[Embeddings] = []
        with torch.no_grad():
            for part in parts:
                states.append(self._random_state())
                stored.append(self._embed(towers, *part))
        whole = Embeddings(
            torch.cat([part.images for part in stored]).requires_grad_(),
            torch.cat([part.texts for part in stored]).requires_grad_(),
            stored[0].scale.detach().clone().requires_grad_(),
            None if (bias := stored[0].bias) is None else bias.detach().clone().requires_grad_(),
        )
        loss = self._loss(whole)
        loss.backward()  # type: ignore[no-untyped-call]  # as above
        for number, (part, state) in enumerate(zip(parts, states, strict=True)):
            is_last = number == len(parts) - 1
            self._set_random_state(state)
            rows = slice(number * len(parts[0][0]), number * len(parts[0][0]) + len(part[0]))
            with nullcontext() if is_last else _without_sync(towers):
                _pass_on(self._embed(towers, *part), whole, rows, with_scalars=is_last)
        return loss.detach()

    def _embed(self, towers: nn.Module, images: Tensor, tokens: Tensor) -> Embeddings:
        with torch.autocast(self._world.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            embeddings: Embeddings = towers(images, tokens)
        return embeddings

    def _loss(self, embeddings: Embeddings) -> Tensor:
        images, texts, scale, bias = embeddings
        if self._kind == "info_nce":
            return contrastive_loss(images, texts, scale, self._group)
        assert bias is not None, "a model for the sigmoid loss has a bias"
        return sigmoid_loss(images, texts, scale, bias, self._group)

    def _random_state(self) -> list[Tensor]:
        on_gpu = self._world.device.type == "cuda"
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(self._world.device)] if on_gpu else [])]

    def _set_random_state(self, state: list[Tensor]) -> None:
        torch.set_rng_state(state[0])
        for gpu_state in state[1:]:
            torch.cuda.set_rng_state(gpu_state, self._world.device)


def _without_sync(towers: nn.Module) -> AbstractContextManager[None]:
    """Return the context in which a parallel wrapper adds up gradients without averaging them over ranks."""
    return towers.no_sync() if isinstance(towers, DistributedDataParallel) else nullcontext()


def _pass_on(part: Embeddings, whole: Embeddings, rows: slice, *, with_scalars: bool) -> None:
    """Pass the gradients of the whole batch's embeddings on to the graph of a part.

    The scale and the bias get theirs once; encoders and scalars without trained parameters get none.
    """
    tensors: list[Tensor] = []
    gradients: list[Tensor] = []
    for tensor, source, is_scalar in zip(part, whole, (False, False, True, True), strict=True):
        if tensor is None or source is None or source.grad is None or not tensor.requires_grad:
            continue
        if not is_scalar or with_scalars:
            tensors.append(tensor)
            gradients.append(source.grad if is_scalar else source.grad[rows])
    torch.autograd.backward(tensors, gradients)
