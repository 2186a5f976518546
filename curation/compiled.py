"""Compiling plain Python functions to machine code with numba, once a machine.

The machine code of a function holds that of all functions it calls and the value of all constants it uses, also from
other files, while numba looks only at the function's own file to see whether what it has kept is stale. So it is kept
in a folder named by a digest of the modules that compile something and all they import, under `$NUMBA_CACHE_DIR` or the
cache folder. Where that cannot be written, each process compiles.

A new folder begins as a copy of the one for the same sources under `$WORLDCURATE_COMPILED`, if there is any: an image
brings what `curation.precompile` made, where nobody can write. Folders that were not used for a month go; a process
holds a lock beside the one it uses.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar, cast

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
UNUSED_S: Final = 30 * 24 * 3600  # after which a folder goes
FOLDER: Final = re.compile(r"[0-9a-f]{16}(\.\w{8})?")  # of a digest, or a copy of one that was not finished
IMPORT: Final = re.compile(
    r"^[ ]*(?:from curation\.(\w+) import|import curation\.(\w+)|from curation import (?:\(([^)]*)\)|([^\n(]*)))",
    re.MULTILINE,
)

Int = Any  # an integer, Python's or any of numpy's: what compiled functions take and return


def compiled(function: Function) -> Function:
    """Compile a function at its first call.

    Integers must not mix signed and unsigned 64-bit kinds: numba makes floats of them.
    """
    return _compile(function, _nrt=True)


def borrowing(function: Function) -> Function:
    """Compile a function that makes no arrays.

    References to those it is given need not be counted. Counting takes an atomic instruction for every use in a loop,
    and makes each load from memory wait for the one before.
    """
    return _compile(function, _nrt=False)


def inlined(function: Function) -> Function:
    """Compile a function that makes no arrays into each that calls it: a call would copy arrays, many words each."""
    return _compile(function, forceinline=True, _nrt=False)


def _compile(function: Function, **options: Any) -> Function:
    config: Any = numba.config
    kept, usual = folder(), config.CACHE_DIR
    try:
        config.CACHE_DIR = str(kept or usual)
        return cast("Function", numba.njit(cache=kept is not None, error_model="numpy", **options)(function))
    finally:
        config.CACHE_DIR = usual


@cache
def folder() -> Path | None:
    """Return the folder of these sources' machine code, in use from now on; None when it cannot be written."""
    sources = {source.name: source.read_text("utf-8") for source in files("curation").iterdir() if _is_module(source)}
    above = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled")
    own = above / digest_of({name.removesuffix(".py"): text for name, text in sources.items()})
    try:
        above.mkdir(parents=True, exist_ok=True)
        _lock(own, fcntl.LOCK_SH)  # until the process ends
        if not own.exists():
            _begin(own)
        os.utime(own)
        prune(above)
    except OSError:
        return None
    return own if os.access(own, os.W_OK) else None


def _is_module(source: Any) -> bool:
    return bool(source.name.endswith(".py"))


def digest_of(sources: Mapping[str, str]) -> str:
    """Return a digest of those modules of this package, given by name, that compile something and all they import."""
    wanted, left = set(), [name for name, text in sources.items() if "from curation.compiled import" in text]
    while left:
        if (name := left.pop()) in sources and name not in wanted:
            wanted.add(name)
            left += re.findall(r"\w+", " ".join(map(" ".join, IMPORT.findall(sources[name]))))
    digest = hashlib.sha256()
    for name in sorted(wanted):
        digest.update(f"{name}\0{sources[name]}\0".encode())
    return digest.hexdigest()[:16]


def _begin(folder: Path) -> None:
    """Make a folder, with what was compiled ahead for the same sources."""
    ahead = Path(os.environ.get("WORLDCURATE_COMPILED", os.devnull)) / folder.name
    if not ahead.is_dir():
        folder.mkdir(exist_ok=True)
        return
    copy = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    shutil.copytree(ahead, copy, dirs_exist_ok=True, copy_function=shutil.copyfile)
    try:
        copy.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(copy)


def prune(above: Path) -> None:
    """Remove the folders of machine code that were not used for long and that no process uses now."""
    for folder in above.iterdir():
        with suppress(OSError):  # another process may use, name or remove it
            if FOLDER.fullmatch(folder.name) and time.time() - folder.stat().st_mtime > UNUSED_S:
                lock = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    shutil.rmtree(folder)
                finally:
                    os.close(lock)


def _lock(folder: Path, kind: int) -> int:
    """Lock a folder's use, as long as the returned descriptor is open. Raises OSError when others hold it."""
    lock = os.open(f"{folder}.lock", os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, kind)
    except OSError:
        os.close(lock)
        raise
    return lock
