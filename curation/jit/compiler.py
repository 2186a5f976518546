"""Compile plain Python functions to machine code with numba, once per machine.

The machine code of a function contains that of every function it calls and the value of every constant it uses, also
from other files, but numba checks only the function's own file to see whether its cached code is stale. The cache is
therefore a folder named by a digest of all modules of this package that compile something and of everything they
import from it, under `$NUMBA_CACHE_DIR` or the cache folder. If that folder is not writable, each process compiles.

A new folder starts as a copy of the one for the same sources under `$WORLDCURATE_COMPILED`, if there is one: a
container image ships the output of `curation.matching.precompile` there, read-only. Folders unused for a month are
removed; a process holds a lock file next to the folder it uses.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
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
PACKAGE: Final = __name__.partition(".")[0]

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
    sources = package_sources(PACKAGE)
    above = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled")
    own = above / digest_of(sources)
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


def package_sources(package: str) -> dict[str, str]:
    """Return the source of every module of a package and its sub-packages, by dotted name."""
    return dict(_sources_below(files(package), package))


def _sources_below(folder: Any, name: str) -> Iterator[tuple[str, str]]:
    for item in folder.iterdir():
        stem = item.name.removesuffix(".py")
        if item.is_dir() and item.name.isidentifier():
            yield from _sources_below(item, f"{name}.{item.name}")
        elif stem != item.name:
            yield name if stem == "__init__" else f"{name}.{stem}", item.read_text("utf-8")


def digest_of(sources: Mapping[str, str], compiler: str = __name__) -> str:
    """Return a digest of the modules that import `compiler` and of every module they import, directly or not.

    `sources` maps dotted names to source code. A name includes the package path, so a moved module changes the digest.
    """
    hint = compiler.rpartition(".")[2]  # parsing only sources that can import it saves most of the time
    pending = [name for name, text in sources.items() if hint in text and compiler in imported(name, text)]
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        if name in sources and name not in reached:
            reached.add(name)
            pending += imported(name, sources[name])
    digest = hashlib.sha256()
    for name in sorted(reached):
        digest.update(f"{name}\0{sources[name]}\0".encode())
    return digest.hexdigest()[:16]


def imported(module: str, source: str) -> set[str]:
    """Return the dotted names that a module's import statements can refer to, with the packages that contain them.

    `from a.b import c` gives `a.b.c` too, because `c` may be a module. Relative imports are resolved against `module`,
    as a module and as a package.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for base in _bases(module, node):
                names.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
    return {name.rsplit(".", cut)[0] for name in names for cut in range(name.count(".") + 1)}


def _bases(module: str, node: ast.ImportFrom) -> list[str]:
    """Return what `from … import` imports from; a relative import has two readings, by the module's kind."""
    if not node.level:
        return [node.module or ""]
    parents = (module.rsplit(".", node.level)[0], module.rsplit(".", node.level - 1)[0])
    return [f"{parent}.{node.module}" if node.module else parent for parent in parents]


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
