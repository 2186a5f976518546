"""Read tokenizers of other programs: Hugging Face folders, `tokenizer.json` and SentencePiece models."""

from __future__ import annotations

from pathlib import Path

import tokenizers
from transformers import AutoTokenizer

from curation.errors import UsageError
from curation.io.failures import first_line
from training.data.sentencepiece import read_sentencepiece
from training.data.tokenizer import SPECIAL_TOKENS


def read_tokenizer(path: Path) -> tuple[tokenizers.Tokenizer, dict[str, str | None]]:
    """Return a tokenizer, and its special tokens as far as the folder names them, by Hugging Face's keys.

    Raises UsageError if it is missing or broken.
    """
    try:
        if path.is_dir():
            loaded = AutoTokenizer.from_pretrained(path, local_files_only=True)
            return loaded.backend_tokenizer, {key: getattr(loaded, key) for key in SPECIAL_TOKENS}
        if path.suffix == ".model":
            return read_sentencepiece(path), {}
        return tokenizers.Tokenizer.from_file(str(path)), {}
    except Exception as error:  # the libraries raise exceptions of any type for missing and broken files
        raise UsageError(f"tokenizer: cannot read {path}: {first_line(error)}") from error
