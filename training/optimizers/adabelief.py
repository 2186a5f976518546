"""AdaBelief: Adam whose step is large where gradients are as expected (arXiv 2010.07468, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class AdaBelief(Optimizer):
    """AdaBelief with decoupled weight decay.

    Args:
        parameters: parameters or groups of parameters.
        lr: learning rate.
        betas: decay of the mean of gradients and of the squares of their differences from it.
        eps: added to the mean of squares in every step, and to its root.
        weight_decay: share of lr by which weights shrink per step.
        previous_mean: measure differences from the mean before the step, and add eps under the root only, as optax did
            until 2021.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        previous_mean: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "previous_mean": previous_mean,
        }
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch's overloads
        """Update all parameters that have a gradient, and return the closure's result if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            # a tensor, as in torch's own optimizers, so that it is saved and loaded like the others
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["mean"], state["squares"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        step, mean, squares = int(state["step"]), state["mean"], state["squares"]
        (beta1, beta2), eps, previous = group["betas"], group["eps"], group["previous_mean"]
        before = gradient - mean if previous else None
        mean.lerp_(gradient, 1 - beta1)
        difference = gradient - mean if before is None else before
        squares.mul_(beta2).addcmul_(difference, difference, value=1 - beta2)
        if not previous:
            squares.add_(eps)
        corrected = squares / (1 - beta2**step)
        root = (corrected + eps).sqrt() if previous else corrected.sqrt() + eps
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean / (1 - beta1**step), root, value=-group["lr"])
