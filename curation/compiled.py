"""Compiling plain Python functions to machine code with numba, once a machine.

The machine code of a function holds that of all functions it calls, also from other files, while numba looks only at
the function's own file to see whether what it has kept is stale. So it is kept in a folder named by a digest of this
package's sources, under `$NUMBA_CACHE_DIR` or the cache folder. Where that cannot be written, each process compiles.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from curation.models import cache_folder

Function = TypeVar("Function", bound=Callable[..., object])
Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint32]  # code points
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Int = Any  # an integer, Python's or any of numpy's: what compiled functions take and return


def compiled(function: Function) -> Function:
    """Compile a function at its first call.

    Integers must not mix signed and unsigned 64-bit kinds: numba makes floats of them.
    """
    return _compile(function)


def inlined(function: Function) -> Function:
    """Compile a function into each that calls it: arrays are many words each, which a call would copy."""
    return _compile(function, forceinline=True)


def _compile(function: Function, **options: Any) -> Function:
    config: Any = numba.config
    folder, usual = _folder(), config.CACHE_DIR
    try:
        config.CACHE_DIR = str(folder or usual)
        return cast("Function", numba.njit(cache=folder is not None, error_model="numpy", **options)(function))
    finally:
        config.CACHE_DIR = usual


@cache
def _folder() -> Path | None:
    """Return the folder of this version's machine code; None when it cannot be written."""
    digest = hashlib.sha256()
    for source in sorted(files("curation").iterdir(), key=lambda source: source.name):
        if source.name.endswith(".py"):
            digest.update(source.read_bytes())
    above = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled")
    folder = above / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
