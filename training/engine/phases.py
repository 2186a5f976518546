"""The phases of a run: which parameters are trained now, and by which optimizer."""

from __future__ import annotations

import logging

from torch import Tensor

from training.config import TrainConfig
from training.distributed import World
from training.engine.method_parts import unused_parameters
from training.engine.optimizer import build_optimizer, set_learning_rate
from training.methods.phase import clamp_scale, freeze, set_scale
from training.methods.terms import AnyTerm
from training.models.towers import TwoTowers
from training.parallel.shards import parallelize

log = logging.getLogger(__name__)


class PhaseOfRun:
    """The phase that a run is in; at the end of a phase, the next one starts with a new optimizer.

    Attributes:
        number: number of the phase, counted from 0.
        parallel: the model as it is trained on all ranks.
        optimizer: the optimizer of the phase.

    Args:
        config: the configuration of the run.
        world: the processes.
        towers: the model, on the CPU.
        terms: the terms of the loss by name.
        step: number of steps that are done.
        token_factors: factor of every token embedding, for phases with `row_factors`.
    """

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        towers: TwoTowers,
        terms: dict[str, AnyTerm],
        *,
        step: int,
        token_factors: Tensor | None = None,
    ) -> None:
        self._config, self._world, self._towers, self._token_factors = config, world, towers, token_factors
        self._phases = config.planned_phases
        self._unused = unused_parameters(towers.outputs, terms)
        for number in range(len(self._phases)):  # a mistake in a later phase ends the run before it starts
            self._freeze(number)
        self.number = max(number for number, phase in enumerate(self._phases) if phase.first <= step)
        self._start(step)

    def begin_step(self, step: int) -> None:
        """Start the next phase if it is due, and set the learning rate of a step."""
        following = self.number + 1
        if following < len(self._phases) and step >= self._phases[following].first:
            self.number = following
            log.info("step %d: %s starts", step, self._phases[following].key)
            del self.parallel  # before the model is wrapped again
            self._start(step)
        set_learning_rate(self.optimizer, self._phases[self.number].rate(step))

    def end_step(self) -> None:
        """Keep the trained scales in their bounds."""
        scale = self._phases[self.number].settings.scale
        clamp_scale(self._towers.model, scale)
        self._towers.heads.clamp_scales(scale.min, scale.max)

    def _start(self, step: int) -> None:
        phase = self._phases[self.number]
        if self.number and step == phase.first and phase.settings.scale.initial is not None:
            set_scale(self._towers.model, phase.settings.scale.initial)
        self._freeze(self.number)
        self.parallel = parallelize(self._towers, self._world, self._config.parallel)
        parameters = self._towers.parameters_by_name()
        self.optimizer = build_optimizer(parameters, self._config, phase, self._token_factors)

    def _freeze(self, number: int) -> None:
        phase = self._phases[number]
        freeze(self._towers.parameters_by_name(), phase.settings, unused=self._unused, key=phase.key)
