"""How the vocabulary grows for a language of a sequence, and how fast its token embeddings learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from curation.errors import InputError
from curation.hashing import u64
from curation.io.failures import first_line
from curation.io.local_files import LocalFiles
from training.config import TrainConfig
from training.data.language_samples import used_tokens
from training.data.shard_index import ShardIndex
from training.data.tokenizer import Tokenizer
from training.data.tokenizer_texts import MAX_TEXTS, sample_texts
from training.engine.start import RunStart
from training.models.vocabulary_growth import changed_share, grow_embeddings, grow_tokenizer
from training.optimizers.row_factors import language_factors
from training.sequence.language_data import LanguageData

GROWTH_FILE = "growth.json"


class Growth(BaseModel):
    """What a language brought to the vocabulary: the content of `growth.json`.

    Attributes:
        language: the language.
        known_tokens: number of ids before.
        tokens: number of ids with those of the language.
        used_tokens: ids that occur in the language's texts.
        changed_texts: share of the texts of each earlier language whose ids changed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str
    known_tokens: int
    tokens: int
    used_tokens: tuple[int, ...]
    changed_texts: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the growth of a language from the folder of its run. Raises InputError if it is missing or broken."""
        path = folder / GROWTH_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(
                f"sequence: cannot read {path} ({first_line(error)}): remove the folders of this language and of later "
                f"ones, and learn them again with resume: true"
            ) from error

    def write(self, folder: Path) -> None:
        """Write it to the folder of the language's run; a kill leaves the old file or this one."""
        folder.mkdir(parents=True, exist_ok=True)
        LocalFiles().write_bytes(str(folder / GROWTH_FILE), self.model_dump_json().encode())


def grow_vocabulary(
    config: TrainConfig, tokenizer: Tokenizer, train: ShardIndex, data: LanguageData
) -> tuple[Growth, Tokenizer]:
    """Return the growth of the last language of a sequence, and the tokenizer with its tokens.

    Args:
        config: the configuration of the run of this language.
        tokenizer: the tokenizer before.
        train: the pairs to train on.
        data: the pairs of earlier languages.
    """
    *earlier, language = config.sequence.languages
    storage = config.open_storage()
    texts = (text for _, text in sample_texts(train, storage, limit=MAX_TEXTS))
    grown = grow_tokenizer(tokenizer, texts, vocab_size=config.sequence.vocab_size)
    growth = Growth(
        language=language,
        known_tokens=tokenizer.vocab_size,
        tokens=grown.vocab_size,
        used_tokens=tuple(used_tokens(train, storage, grown)),
        changed_texts={name: changed_share(tokenizer, grown, data.texts(name)) for name in earlier},
    )
    return growth, grown


def grow_model(config: TrainConfig, start: RunStart, growth: Growth, tokenizer: Tokenizer) -> RunStart:
    """Return a start whose model has embeddings of all tokens of the grown tokenizer."""
    grow_embeddings(
        start.model,
        growth.known_tokens,
        growth.tokens,
        seed=u64(config.seed, "new-tokens", growth.language),
        new_rows=config.sequence.new_rows,
    )
    return start._replace(tokenizer=tokenizer)


def token_factors(start: RunStart, growths: Sequence[Growth]) -> Tensor:
    """Return the factor of each token embedding (rows,) while the last language is learned."""
    return language_factors(
        [growth.used_tokens for growth in growths],
        rows=start.model.text_model.embeddings.token_embedding.num_embeddings,
        original_rows=growths[0].known_tokens,
        special_ids=start.tokenizer.special_ids,
    )
