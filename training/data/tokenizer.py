"""Tokenize texts with a byte-level BPE trained on the shards, or with any `tokenizer.json`.

Every text becomes `<s> … </s>`, truncated or padded to the context length. The model reads the embedding of a text at
its first end token, so exactly one may occur: special tokens that appear in a text are encoded as ordinary characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from curation.errors import UsageError
from curation.io.failures import first_line

# Known names of each special token; new tokenizers get the first.
PAD = ("<pad>", "[PAD]", "<|pad|>")
BOS = ("<s>", "<bos>", "<|startoftext|>", "[CLS]")
EOS = ("</s>", "<eos>", "<|endoftext|>", "[SEP]")


class Tokenizer:
    """A tokenizer with a context length.

    Attributes:
        context_length: number of tokens of every encoded text, including start token, end token and padding.
        bos: the start token; None if the vocabulary has none.
        eos: the end token, at which the model reads the embedding.
        pad: the padding token; the end token if the vocabulary has none.
    """

    def __init__(self, core: tokenizers.Tokenizer, context_length: int) -> None:
        self._core = core
        self.context_length = context_length
        eos = self._find(EOS)
        if eos is None:
            raise UsageError(f"tokenizer: its vocabulary has no end token: add one of {', '.join(EOS)}")
        self.eos = eos
        self.bos = self._find(BOS)
        self.pad = self._find(PAD) or eos
        ids = {name: core.token_to_id(name) for name in (self.bos, self.eos, self.pad) if name is not None}
        self.bos_id = None if self.bos is None else ids[self.bos]
        self.eos_id, self.pad_id = ids[self.eos], ids[self.pad]
        core.add_special_tokens(list(ids))
        core.post_processor = processors.TemplateProcessing(
            single=" ".join(name for name in (self.bos, "$A", self.eos) if name is not None),
            special_tokens=list(ids.items()),
        )
        core.enable_truncation(context_length)
        core.enable_padding(length=context_length, pad_id=self.pad_id, pad_token=self.pad)
        core.encode_special_tokens = True

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
        """Load a tokenizer.json. Raises UsageError if it is missing, broken, or has no end token."""
        try:
            core = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises a bare Exception for missing and broken files
            raise UsageError(f"tokenizer: cannot read {path}: {first_line(error)}") from error
        return cls(core, context_length)

    @classmethod
    def from_json(cls, text: str, context_length: int) -> Self:
        """Return the tokenizer that `to_json` serialized."""
        return cls(tokenizers.Tokenizer.from_str(text), context_length)

    def __reduce__(self) -> tuple[Any, ...]:
        # the library's own pickling loses `encode_special_tokens`
        return type(self).from_json, (self.to_json(), self.context_length)

    @property
    def vocab_size(self) -> int:
        """Number of ids that the model's token embedding must cover."""
        return 1 + max(self._core.get_vocab(with_added_tokens=True).values())

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to int32 ids of shape (texts, context_length)."""
        encodings = self._core.encode_batch(list(texts))
        ids = torch.tensor([encoding.ids for encoding in encodings], dtype=torch.int32)
        return ids.reshape(-1, self.context_length)

    def _find(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if self._core.token_to_id(name) is not None), None)

    def to_json(self) -> str:
        """Return the content of the tokenizer.json."""
        return str(self._core.to_str(pretty=False))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and a `tokenizer_config.json` so that Hugging Face's AutoTokenizer can load it."""
        (folder / "tokenizer.json").write_text(self.to_json(), encoding="utf-8")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.context_length,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "pad_token": self.pad,
            "split_special_tokens": True,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
