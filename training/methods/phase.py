"""Plan the phases of a run, choose which parameters each trains, and keep scales in their bounds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import nn
from transformers import MetaClip2Model

from curation.errors import UsageError
from training.methods.base import PartialPhase, Phase, Scale
from training.optimizers.schedules import scheduled_rate


class PlannedPhase(NamedTuple):
    """A phase of a run.

    Attributes:
        key: its configuration key.
        settings: what it trains, and how.
        first: number of its first step.
        steps: number of its steps.
        lr: peak learning rate.
        warmup: steps of linear warm-up.
    """

    key: str
    settings: Phase
    first: int
    steps: int
    lr: float
    warmup: int

    def rate(self, step: int) -> float:
        """Return the learning rate of a step of the run, counted from 0."""
        return scheduled_rate(
            step - self.first,
            peak=self.lr,
            warmup=self.warmup,
            total=self.steps,
            schedule=self.settings.schedule,
            starts_at_zero=self.settings.warmup_from_zero,
        )


def plan_phases(phases: Sequence[PartialPhase], steps: int, lr: float) -> list[PlannedPhase]:
    """Return the phases of a run, whose shares divide its steps.

    Raises UsageError if a phase has no step.

    Args:
        phases: the phases in order.
        steps: number of steps of the run.
        lr: peak learning rate of phases without their own.
    """
    shares = [0.0, *accumulate(phase.share for phase in phases)]
    planned = []
    for number, (phase, (start, end)) in enumerate(zip(phases, pairwise(shares), strict=True)):
        first, stop = (round(steps * share / shares[-1]) for share in (start, end))
        if first == stop:
            raise UsageError(f"phases.{number}.share: {phase.share:g} is no step of {steps}: raise it, or train longer")
        warmup = phase.warmup_steps if phase.warmup_steps is not None else default_warmup(stop - first)
        planned.append(PlannedPhase(f"phases.{number}", phase, first, stop - first, phase.lr or lr, warmup))
    return planned


def default_warmup(steps: int) -> int:
    """Return the number of warm-up steps of so many steps: a tenth, and at most 2,000."""
    return min(2000, steps // 10)


def freeze(
    parameters: Mapping[str, nn.Parameter], phase: Phase, *, unused: Collection[str] = (), key: str = "phase"
) -> None:
    """Let gradients be computed only for the parameters that a phase trains.

    Raises UsageError if a pattern matches no parameter, or nothing is left to train.

    Args:
        parameters: all parameters by name.
        phase: which are trained.
        unused: patterns of parameters that no term of the loss depends on; they are never trained.
        key: the configuration key of the phase.
    """
    names = list(parameters)
    for part, patterns in (("train", phase.train), ("freeze", phase.freeze)):
        for pattern in patterns:
            if not _matches([pattern], names):
                raise UsageError(
                    f"{key}.{part}: no parameter matches {pattern!r}: names are like {names[-1]} or "
                    f"vision_model.encoder.layers.0.*"
                )
    trained = _matches(phase.train, names) - _matches(phase.freeze, names) - _matches(unused, names)
    if not phase.scale.learned:
        trained -= {"logit_scale"}
    if not trained:
        raise UsageError(f"{key}: no parameter is left to train: shorten {key}.freeze or extend {key}.train")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)


def set_scale(model: MetaClip2Model, scale: float) -> None:
    """Set the factor of the cosine similarities."""
    with torch.no_grad():
        model.logit_scale.fill_(math.log(scale))


def clamp_scale(model: MetaClip2Model, scale: Scale) -> None:
    """Clamp the scale to its bounds if it is trained; CLIP's are 1 and 100 (arXiv 2103.00020, section 2.5)."""
    if model.logit_scale.requires_grad:
        with torch.no_grad():
            model.logit_scale.clamp_(math.log(scale.min), math.log(scale.max))


def _matches(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
