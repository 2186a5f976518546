"""Compile the machine code of matching ahead of use: `NUMBA_CACHE_DIR=FOLDER python -m curation.matching.precompile`.

A job that runs with `WORLDCURATE_COMPILED=FOLDER` starts with that code if it has the same sources at the same path and
the same kind of processor; otherwise it compiles as usual. The container image is built this way. The command compiles
every loop that building metadata, matching, sampling and images use: both rule sets, language identification with the
default model, the resizing of pictures, and the search for near-duplicates.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.cli.run import run_command
from curation.cli.settings import parse_without_config
from curation.dedup.near_duplicates import find_duplicates, find_stored
from curation.errors import UsageError
from curation.images.codec.phash import phash
from curation.jit import compiler
from curation.jit.hash_columns import u64_column
from curation.lake.schemas import SCHEMAS
from curation.lid.identifier import LanguageIdentifier, labels_of
from curation.matching.matcher import Matcher
from curation.matching.matcher_file import compile_entries
from curation.matching.pairs import PairMatcher
from curation.models import default_model_path

ENTRIES: Final = ["St. Louis", "dog", "red dog", "カメラ", "猫"]
TEXTS: Final = ["a red dog in St. Louis", "新しいカメラと猫"]


def precompile() -> None:
    """Match some texts and resize a picture as the jobs do, so that everything is compiled.

    Raises UsageError if the default model is missing or the folder of machine code is not writable.
    """
    if compiler.code_folder() is None:
        raise UsageError("NUMBA_CACHE_DIR: the folder of machine code is not writable: set it to a writable folder")
    phash(Image.new("RGB", (64, 64)))
    hashes = np.zeros(2, np.uint64)
    find_duplicates(hashes, 1)
    find_stored(hashes, hashes, 1)
    model = default_model_path()
    identifier = LanguageIdentifier(model, dict.fromkeys(labels_of(model), "en"))
    u64_column(0, "text", pa.array(TEXTS))  # sampling
    with tempfile.TemporaryDirectory() as folder:
        for rules in ("worldwide", "reference"):
            path = Path(folder) / rules
            path.write_bytes(compile_entries(ENTRIES, rules))
            # A mapped file, as in the jobs: numba compiles again for read-only arrays.
            _match(identifier, Matcher.open(path, rules))


def _match(identifier: LanguageIdentifier, matcher: Matcher) -> None:
    texts = [{"source": "alt", "text": text} for text in TEXTS]
    pairs = pa.RecordBatch.from_pylist([{"image_id": "0", "texts": texts}], SCHEMAS["pairs"])
    PairMatcher(identifier, {"en": len(ENTRIES)}, lambda _: matcher).match(pairs)


def main() -> int:
    """Run the command and return its exit code, as the jobs do."""

    def command(argv: Sequence[str]) -> None:
        parse_without_config("python -m curation.matching.precompile", __doc__ or "", argv)
        precompile()

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
