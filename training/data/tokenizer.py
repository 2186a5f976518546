"""Tokenize texts with a byte-level BPE trained on the shards, or with any tokenizer that Hugging Face's library reads.

Every text becomes `<s> … </s>`, truncated or padded to the context length. The model reads the embedding of a text at
its first end token, so exactly one occurs: special tokens that appear in a text are encoded as ordinary characters, and
a tokenizer without a padding token pads with another id. (Attention is causal, so padding has no effect.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from curation.errors import UsageError
from curation.io.failures import first_line

# Known names of each special token; new tokenizers get the first.
PAD = ("<pad>", "[PAD]", "<|pad|>")
BOS = ("<s>", "<bos>", "<|startoftext|>", "[CLS]")
MASK = ("<mask>", "[MASK]")
EOS = ("</s>", "<eos>", "<|endoftext|>", "[SEP]")
SPECIAL_TOKENS: Final = ("bos_token", "eos_token", "pad_token")  # Hugging Face's keys

TOKENIZER_FILE: Final = "tokenizer.json"
CONFIG_FILE: Final = "tokenizer_config.json"


class Tokenizer:
    """A tokenizer with a context length.

    Args:
        core: the library's tokenizer; it is changed.
        context_length: number of tokens of every encoded text, including start token, end token and padding.
        names: special tokens by Hugging Face's keys; those that are not given are known names in the vocabulary.

    Attributes:
        bos: the start token; None if a text has none.
        eos: the end token, at which the model reads the embedding.
        pad: the padding token for Hugging Face; the end token if the vocabulary has none.
        pad_id: the id that fills texts up to the context length, never that of the end token.
    """

    def __init__(
        self, core: tokenizers.Tokenizer, context_length: int, names: Mapping[str, str | None] | None = None
    ) -> None:
        core.no_padding()
        core.no_truncation()
        self._core = core
        self.context_length = context_length
        names = names or {}
        eos = names.get("eos_token") or self._find(EOS)
        if eos is None or core.token_to_id(eos) is None:
            raise UsageError(f"tokenizer: its vocabulary has no end token: add one of {', '.join(EOS)}")
        self.eos = eos
        self.bos = self._start_token(names.get("bos_token") or self._find(BOS))
        self.pad = names.get("pad_token") or self._find(PAD) or eos
        ids: dict[str, Any] = {name: core.token_to_id(name) for name in (self.bos, eos, self.pad) if name is not None}
        self.bos_id = None if self.bos is None else ids[self.bos]
        self.eos_id = ids[self.eos]
        self.pad_id: int = ids[self.pad] if ids[self.pad] != self.eos_id else int(self.eos_id == 0)
        core.add_special_tokens(list(ids))
        core.post_processor = processors.TemplateProcessing(
            single=" ".join(name for name in (self.bos, "$A", self.eos) if name is not None),
            special_tokens=list(ids.items()),
        )
        core.encode_special_tokens = True
        self._separate_names(list(ids))
        core.enable_truncation(context_length)
        core.no_padding()  # `__call__` pads, in a third of the time

    def _start_token(self, name: str | None) -> str | None:
        """Return the start token, unless the tokenizer adds special tokens to a text but not this one."""
        added = self._core.encode("").ids
        return None if name is None or (added and self._core.token_to_id(name) not in added) else name

    def _separate_names(self, names: Iterable[str]) -> None:
        """Insert a space into names of special tokens in a text that the vocabulary has as ordinary entries, too."""
        for name in names:
            if self._core.token_to_id(name) in self._core.encode(name, add_special_tokens=False).ids:
                separate = normalizers.Replace(name, f"{name[0]} {name[1:]}")
                before = self._core.normalizer
                self._core.normalizer = separate if before is None else normalizers.Sequence([before, separate])

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int, context_length: int) -> Self:
        """Train a byte-level BPE on texts; the same texts in the same order give the same vocabulary."""
        core = tokenizers.Tokenizer(models.BPE())
        core.normalizer = normalizers.NFC()
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[PAD[0], BOS[0], EOS[0]],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        core.train_from_iterator(texts, trainer)
        return cls(core, context_length)

    @classmethod
    def read(cls, path: str | Path, context_length: int) -> Self:
        """Load a Hugging Face folder, a tokenizer.json or a SentencePiece model.

        Raises UsageError if it is missing or broken, or has no end token.
        """
        # imported here because loader workers, which get a pickled tokenizer, do without Hugging Face's libraries
        from training.data.tokenizer_files import read_tokenizer

        core, names = read_tokenizer(Path(path))
        return cls(core, context_length, names)

    @classmethod
    def load(cls, folder: Path, context_length: int) -> Self:
        """Return the tokenizer that `save` wrote to a folder.

        Raises UsageError if its files are missing or broken, or name no end token.
        """
        path = folder / CONFIG_FILE
        try:
            text = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
            config = json.loads(path.read_bytes()) if path.exists() else {}
            names = {key: _content(config.get(key)) for key in SPECIAL_TOKENS}
            return cls.from_json(text, context_length, names)
        except UsageError:
            raise
        except Exception as error:  # the library raises exceptions of any type for broken files
            raise UsageError(f"tokenizer: cannot read {folder / TOKENIZER_FILE}: {first_line(error)}") from error

    @classmethod
    def from_json(cls, text: str, context_length: int, names: Mapping[str, str | None]) -> Self:
        """Return the tokenizer with the content of a tokenizer.json, and with these special tokens."""
        return cls(tokenizers.Tokenizer.from_str(text), context_length, names)

    def __reduce__(self) -> tuple[Any, ...]:
        # the library's own pickling loses `encode_special_tokens`
        return type(self).from_json, (self.to_json(), self.context_length, self.special_tokens)

    @property
    def special_tokens(self) -> dict[str, str | None]:
        """The special tokens by Hugging Face's keys."""
        return dict(zip(SPECIAL_TOKENS, (self.bos, self.eos, self.pad), strict=True))

    @property
    def mask_id(self) -> int | None:
        """The id of the token that stands for a masked one; None if the vocabulary has none."""
        name = self._find(MASK)
        return None if name is None else self._core.token_to_id(name)

    def with_mask(self) -> Self:
        """Return this tokenizer, or, if it has no token for masked ones, one with such a token after all others."""
        if self.mask_id is not None:
            return self
        core = tokenizers.Tokenizer.from_str(self.to_json())
        core.add_special_tokens([MASK[0]])
        return type(self)(core, self.context_length, self.special_tokens)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of start, end, padding and masked tokens."""
        ids = (self.bos_id, self.eos_id, self.pad_id, self.mask_id)
        return tuple(int(number) for number in ids if number is not None)

    @property
    def vocab_size(self) -> int:
        """Number of ids that the model's token embedding must cover."""
        return 1 + max(self._core.get_vocab(with_added_tokens=True).values())

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to int32 ids of shape (texts, context_length)."""
        ids = np.full((len(texts), self.context_length), self.pad_id, np.int32)
        for row, encoding in zip(ids, self._core.encode_batch_fast(list(texts)), strict=True):
            row[: len(encoding)] = encoding.ids
        return torch.from_numpy(ids)

    def _find(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if self._core.token_to_id(name) is not None), None)

    def to_json(self) -> str:
        """Return the content of the tokenizer.json."""
        core, pad = self._core, self._core.id_to_token(self.pad_id)
        core.enable_padding(length=self.context_length, pad_id=self.pad_id, pad_token=pad)
        content = str(core.to_str(pretty=False))
        core.no_padding()
        return content

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and a `tokenizer_config.json` so that Hugging Face's AutoTokenizer can load it."""
        (folder / TOKENIZER_FILE).write_text(self.to_json(), encoding="utf-8")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.context_length,
            **self.special_tokens,
            "split_special_tokens": True,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")


def _content(token: Any) -> str | None:
    """Return the name of a special token in a tokenizer_config.json: a string, or an object with `content`."""
    name = token.get("content") if isinstance(token, dict) else token
    return name if isinstance(name, str) else None
