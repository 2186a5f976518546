"""Evaluations while a model is trained: of the held-out pairs and of the configured sets, shared by the ranks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from curation.errors import WorldcurateError
from curation.io.failures import first_line
from training.distributed import World
from training.evaluation.encoder import Encoder
from training.evaluation.evaluation_set import HELD_OUT, EvaluationSet
from training.evaluation.examples import Example
from training.evaluation.held_out import HeldOutResults
from training.evaluation.measure import check_inputs, measure
from training.evaluation.retrieval import Result

log = logging.getLogger(__name__)


class Evaluated(NamedTuple):
    """What an evaluation found.

    Attributes:
        figures: figures over all held-out pairs, if there are any.
        results: the results of each set, and of the held-out pairs as the set `held_out`.
        examples: examples of retrieval of each set that has captions.
    """

    figures: dict[str, float]
    results: dict[str, list[Result]]
    examples: dict[str, list[Example]]


def check_evaluations(sets: Mapping[str, EvaluationSet]) -> None:
    """Raise the error of the first set that cannot be measured as configured, with its name."""
    for name, data in sets.items():
        try:
            check_inputs(data)
        except WorldcurateError as error:
            raise type(error)(f"evaluations.{name}: {error}") from error


def evaluate(
    encoder: Encoder,
    world: World,
    sets: Mapping[str, EvaluationSet],
    held_out: Callable[[], HeldOutResults] | None = None,
    *,
    survives: bool = True,
) -> Evaluated:
    """Measure the held-out pairs on rank 0, and each set on one rank; every rank returns all results.

    A set that cannot be measured is named in the log and has no results, so that training continues; this applies to
    the held-out pairs, too.

    Args:
        encoder: the model, equal on all ranks.
        world: the ranks.
        sets: the sets by name, in the same order on all ranks.
        held_out: a function that measures the held-out pairs; None: there are none.
        survives: whether the model can be trained on after an error inside it, such as a lack of memory. Otherwise
            that error ends the run.
    """
    caught = (WorldcurateError, OSError, *([RuntimeError] if survives else []))  # the last is also a lack of memory
    names = ([HELD_OUT] if held_out else []) + list(sets)  # rank 0 has the first

    def work() -> Evaluated:
        part = Evaluated({}, {}, {})
        for name in names[world.rank :: world.size]:
            part.results[name], part.examples[name] = [], []
            try:
                if name in sets:
                    part.results[name] = list(measure(encoder, sets[name], part.examples[name]))
                elif held_out:
                    figures, part.results[name], part.examples[name] = held_out()
                    part.figures.update(figures)
            except caught as error:
                log.warning("evaluations.%s: not measured: %s", name, first_line(error))
                part.examples[name] = []
        return part

    parts = world.all_gather(work)
    results = {name: rows for part in parts for name, rows in part.results.items()}
    examples = {name: rows for part in parts for name, rows in part.examples.items()}
    return Evaluated(
        parts[0].figures,
        {name: results[name] for name in names},
        {name: examples[name] for name in names if examples[name]},
    )
