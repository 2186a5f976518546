"""Learn the languages of a sequence, each in a run that starts from the model of the one before, with new tokens.

    OUTPUT/language-01/    the run of the first language: checkpoints, metrics, page, and its `growth.json`
    OUTPUT/language-02/    …
    OUTPUT/recall.json     recall of every language after each language, and what follows from it; `recall.md` as tables

All that a later run needs is in the folders of the earlier ones, so a sequence continues where it was stopped: in the
middle of a language, before the next one, or before its recall was measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UsageError
from training.config import TrainConfig
from training.data.shard_index import TrainValSplit
from training.data.tokenizer import Tokenizer
from training.distributed import World
from training.engine import checkpoint
from training.engine.checkpoint import TrainingState
from training.engine.resume import check_changes, check_makers
from training.engine.start import RunStart
from training.evaluation.encoder import trained_encoder
from training.evaluation.held_out import DIRECTIONS, held_out_recall
from training.methods.base import Start
from training.models.towers import TwoTowers
from training.output.manifest import check_manifest
from training.sequence.growth import Growth, grow_model, grow_vocabulary, token_factors
from training.sequence.language_data import LanguageData
from training.sequence.recall_matrix import RecallMatrix

log = logging.getLogger(__name__)

Summary = dict[str, Any]
Complete = Callable[[RunStart, TrainValSplit], RunStart]
TrainOne = Callable[[TrainConfig, Complete], Summary]


class Started(NamedTuple):
    """What a sequence starts or continues with: the last state of each run so far, and the version of the table."""

    states: list[TrainingState]
    version: int


def learn_languages(config: TrainConfig, world: World, train_one: TrainOne, *, dry_run: bool = False) -> Summary:
    """Learn the languages that are not learned yet and measure recall after each; return the summary.

    With `dry_run`, the next language is tried, and nothing of it is written.

    Raises UsageError if the configuration does not fit the languages that are learned or the pairs, and what training a
    language raises.

    Args:
        config: the configuration of the sequence.
        world: this process among all ranks.
        train_one: trains with the configuration of a language; its second argument completes the start of the run.
        dry_run: whether the runs are dry runs.
    """
    runs = LanguageRuns(config, world)
    languages, summary = config.sequence.languages, Summary()
    learned = [runs.is_learned(number) for number in range(len(languages))]
    for number, language in enumerate(languages):
        if not learned[number]:
            log.info("language %d of %d: %s", number + 1, len(languages), language)
            summary = train_one(runs.config_of(number), partial(runs.complete, number, dry_run=dry_run))
            if dry_run:
                return summary
        world.broadcast_from_main(partial(runs.measure, number, again=not learned[number]))
    return summary | world.broadcast_from_main(runs.summary)


class LanguageRuns:
    """The runs of a sequence. Every rank makes one, and they call its methods together unless rank 0 alone is named."""

    def __init__(self, config: TrainConfig, world: World) -> None:
        self._config, self._world, self._output = config, world, config.output_folder
        self._data: LanguageData  # on rank 0
        self._states, version = world.broadcast_from_main(self._start)
        saved = self._states[0].config if self._states else None
        pinned = version if config.version is None else config.version  # another one than before is refused later
        self._config = config.with_streams(world.size, saved).model_copy(update={"version": pinned})

    def _start(self) -> Started:
        """Read what is there, and check it and the pairs; rank 0 alone."""
        states = self._read_states()
        pinned = self._config.version if not states else states[0].version
        self._data = LanguageData(self._config.model_copy(update={"version": pinned}))
        self._data.check()
        if states and states[-1].step >= self.config_of(len(states) - 1).total_steps:  # else its run does this
            number = len(states) - 1
            check_changes(self.config_of(number), self._folder(number), states[-1])
        return Started(states, self._data.version)

    def _read_states(self) -> list[TrainingState]:
        """Return the last state of each language so far. Raises UsageError unless they begin the sequence."""
        states: list[TrainingState] = []
        while checkpoint_of := checkpoint.find(self._folder(len(states))):
            states.append(TrainingState.read(checkpoint_of))
        if isinstance(self._config.resume, str):
            raise UsageError("resume: a sequence of languages continues in its own output: set resume: true")
        if (states or checkpoint.find(self._output)) and not self._config.resume:
            raise UsageError(
                f"output: {self._output} already contains a run: set resume: true, or choose another folder"
            )
        if checkpoint.find(self._output):
            raise UsageError(f"output: {self._output} contains a run without a sequence: choose another folder")
        learned = tuple(state.config["languages"][0] for state in states)
        if self._config.sequence.languages[: len(learned)] != learned:
            raise UsageError(
                f"sequence.languages: {self._output} has learned {', '.join(learned)}, but "
                f"{', '.join(self._config.sequence.languages)} are listed: begin the list with the learned ones, or "
                f"choose another output folder"
            )
        return states

    def _folder(self, number: int) -> Path:
        return self._output / f"language-{number + 1:02}"

    def is_learned(self, number: int) -> bool:
        """Return whether the run of a language was complete at the start."""
        if number != len(self._states) - 1:
            return number < len(self._states)
        return self._states[number].step >= self.config_of(number).total_steps

    def config_of(self, number: int) -> TrainConfig:
        """Return the configuration of the run of a language."""
        sequence, languages = self._config.sequence, self._config.sequence.languages
        changes: dict[str, Any] = {
            "languages": [languages[number]],
            "sequence": sequence.model_copy(update={"languages": languages[: number + 1]}),
            "output": str(self._folder(number)),
            "resume": True,
        }
        if number and (before := checkpoint.find(self._folder(number - 1))):
            changes |= {"start": Start(checkpoint=str(before)), "tokenizer": "train"}
        return self._config.model_copy(update=changes)

    def complete(self, number: int, start: RunStart, split: TrainValSplit, *, dry_run: bool) -> RunStart:
        """Return the start of the run of a language with the embeddings of its new tokens and all factors."""
        main = self._world.broadcast_from_main
        growths = main(lambda: [Growth.read(self._folder(earlier)) for earlier in range(number)])
        if start.resume is None:
            growth, tokenizer = main(lambda: self._grow(number, start, split, dry_run=dry_run))
            start = grow_model(self.config_of(number), start, growth, tokenizer)
        else:
            growth = main(lambda: Growth.read(self._folder(number)))
        return start._replace(token_factors=token_factors(start, [*growths, growth]))

    def _grow(self, number: int, start: RunStart, split: TrainValSplit, *, dry_run: bool) -> tuple[Growth, Tokenizer]:
        """Add the tokens of a language, report what they change, and write it; rank 0 alone."""
        config = self.config_of(number)
        if number:
            before = Path(config.start.checkpoint or "")
            check_manifest(before)
            check_makers(split.train.makers, TrainingState.read(before))
        growth, tokenizer = grow_vocabulary(config, start.tokenizer, split.train, self._data)
        log.info(
            "%s: %d new tokens, %d in all; texts of earlier languages whose ids change: %s",
            growth.language,
            growth.tokens - growth.known_tokens,
            growth.tokens,
            ", ".join(f"{share:.1%} of {name}" for name, share in growth.changed_texts.items()) or "none",
        )
        if not dry_run:
            growth.write(self._folder(number))
        return growth, tokenizer

    def measure(self, number: int, *, again: bool) -> None:
        """Measure recall of the languages up to one by its model, and write the matrix; rank 0 alone.

        Without `again`, a row that is there stays.
        """
        matrix = RecallMatrix.read(self._output)
        if len(matrix.languages) > number and not again:
            return
        folder = checkpoint.find(self._folder(number))
        assert folder is not None, "the run of this language is complete"
        model, tokenizer = checkpoint.load_model(folder)
        towers = TwoTowers(model.to(self._world.device)).eval()  # type: ignore[arg-type]  # a wrapper hides its type
        encoder = trained_encoder(towers, tokenizer, self._config.precision)
        languages = self._config.sequence.languages[: number + 1]
        found = {name: held_out_recall(encoder, self._data.held_out_pairs(name)) for name in languages}
        growth = Growth.read(self._folder(number))
        rows = {
            f"{way}_recall": {name: figures[f"{way}_recall"] for name, figures in found.items()} for way in DIRECTIONS
        }
        matrix = matrix.first(number).with_row(rows, growth.tokens, growth.changed_texts)
        matrix.write(self._output)
        for way, figures in matrix.metrics().items():
            log.info("after %s: %s: %s", languages[-1], way, ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))

    def summary(self) -> Summary:
        """Return the learned languages and the figures of the matrix; rank 0 alone."""
        matrix = RecallMatrix.read(self._output)
        figures = {f"{way}_{k}": v for way, found in matrix.metrics().items() for k, v in found.items()}
        return {"languages": list(matrix.languages), **figures}
