"""The pairs of every language of a sequence, for what rank 0 does between the runs."""

from __future__ import annotations

from curation.errors import UsageError
from curation.lake.lake import Lake
from training.config import TrainConfig
from training.data.language_samples import of_language
from training.data.shard_index import ShardIndex, TrainValSplit, build_index
from training.data.tokenizer_texts import sample_texts
from training.evaluation.held_out import HeldOutPair, read_pairs

COMPARED_TEXTS = 10_000  # of each language, to see whose ids a new vocabulary changes


class LanguageData:
    """Reads the pairs of single languages; nothing of a language is read before it is needed.

    Args:
        config: the configuration of the sequence, with the version of the table.

    Attributes:
        version: version of the shards table.
    """

    def __init__(self, config: TrainConfig) -> None:
        assert config.lake is not None, "load_config requires this key"
        self._config, self._storage = config, config.open_storage()
        lake = Lake(config.lake, self._storage)
        lake.check_exists()
        self._split: TrainValSplit = build_index(
            lake,
            *config.recipes,
            batches=config.batches,
            dataset=config.dataset,
            version=config.version,
            validation_share=config.validation_share,
            languages=config.sequence.languages,
            read_languages=True,
            select=config.intervals,
        )
        self.version = self._split.train.version
        self._texts: dict[str, list[str]] = {}

    def check(self) -> None:
        """Raise UsageError, in one line, if a language has too few pairs to train on or no held-out pair."""
        for language in self._config.sequence.languages:
            if (samples := self._train(language).samples) < self._config.batch_size:
                raise UsageError(
                    f"sequence.languages: {language} has {samples} pairs to train on, fewer than batch_size, "
                    f"{self._config.batch_size}: leave it out, or lower batch_size"
                )
            if not self._held_out(language).samples:
                raise UsageError(f"validation_share: no pair of {language} is held out: raise it, or leave it out")

    def texts(self, language: str) -> list[str]:
        """Return up to `COMPARED_TEXTS` texts of a language that are trained on."""
        if language not in self._texts:
            labeled = sample_texts(self._train(language), self._storage, limit=COMPARED_TEXTS)
            self._texts[language] = [text for _, text in labeled]
        return self._texts[language]

    def held_out_pairs(self, language: str) -> list[HeldOutPair]:
        """Return up to `validation_pairs` held-out pairs of a language."""
        return read_pairs(self._held_out(language), self._storage, self._config.validation_pairs)

    def _train(self, language: str) -> ShardIndex:
        return of_language(self._split.train, language)

    def _held_out(self, language: str) -> ShardIndex:
        return of_language(self._split.validation, language)
