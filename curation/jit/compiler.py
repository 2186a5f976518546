"""Compile plain Python functions to machine code with numba, once per machine.

The machine code of a function contains the code of every function it calls and the value of every constant it uses,
also from other files. But numba looks only at the function's own file to decide whether cached code is stale. The
cache is therefore a folder whose name is a digest of the sources: of all modules of this package that compile
something, and of every module of the package that they import. It is created under `$NUMBA_CACHE_DIR` or the cache
folder. If it is not writable, each process compiles for itself.

A new folder starts as a copy of the folder with the same name under `$WORLDCURATE_COMPILED`, if that exists: a
container image ships the output of `curation.matching.precompile` there, read-only. Folders unused for a month are
removed. A process holds a lock on a file next to the folder it uses, so that the folder is not removed.

Four decorators compile: `jit`, `jit_nogil`, `jit_no_refcount` and `jit_inline`. The array types below annotate their
arguments.
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

from curation.io.cache_dir import cache_folder

Function = TypeVar("Function", bound=Callable[..., object])

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint32]  # code points
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Int = Any
"""An integer in compiled code: a Python `int` or a numpy integer of any width.

It is `Any` because no static type describes it. In a kernel the width of a sum or a shift follows numba's promotion
rules, which differ from numpy's, and loops mix literals (`int`) with array elements (`np.uint32`, `np.int64`). The
alias marks arguments and results that are integers; their exact width, where it matters, is written as `np.int64(…)`.
"""

MAX_UNUSED_S: Final = 30 * 24 * 3600  # folders unused for longer are removed
# An import statement that starts a line, with the lines that continue it.
IMPORT: Final = re.compile(
    r"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+)?import\b(?:[ \t]*\((?:[^)#]|#.*)*\)|(?:[^\n(\\]|\\\n)*))", re.MULTILINE
)
FOLDER_NAME: Final = re.compile(r"[0-9a-f]{16}(\.\w{8})?")  # a digest, or an unfinished copy of such a folder
PACKAGE: Final = __name__.partition(".")[0]


def jit(function: Function) -> Function:
    """Compile a function at its first call.

    The function must not combine signed and unsigned 64-bit integers: numba converts both to floats.
    """
    return _compile(function, _nrt=True)


def jit_nogil(function: Function) -> Function:
    """Compile a function that lets other threads run Python code meanwhile.

    Its arguments must not be changed by another thread.
    """
    return _compile(function, nogil=True)


def jit_no_refcount(function: Function) -> Function:
    """Compile a function that creates no arrays, without reference counting of the arrays it is given.

    Counting costs an atomic instruction for every use in a loop and makes each memory load wait for the previous one.
    """
    return _compile(function, _nrt=False)


def jit_inline(function: Function) -> Function:
    """Compile a function that creates no arrays into each of its callers.

    A call would copy the descriptor of every array argument, which is several words long.
    """
    return _compile(function, forceinline=True, _nrt=False)


def _compile(function: Function, **options: Any) -> Function:
    config: Any = numba.config
    folder, default = code_folder(), config.CACHE_DIR
    try:
        config.CACHE_DIR = str(folder or default)
        return cast("Function", numba.njit(cache=folder is not None, error_model="numpy", **options)(function))
    finally:
        config.CACHE_DIR = default


@cache
def code_folder() -> Path | None:
    """Return the folder with the machine code of these sources, locked by this process; None if it is not writable."""
    parent = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled")
    folder = parent / digest_of(package_sources(PACKAGE))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _lock(folder, fcntl.LOCK_SH)  # until the process ends
        if not folder.exists():
            _create_folder(folder)
        os.utime(folder)
        prune(parent)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def has_machine_code(*modules: str) -> bool:
    """Return whether each of these modules was compiled before, at least in part, on this machine."""
    folder = code_folder()
    names = [module.rpartition(".")[2] for module in modules]
    return folder is not None and all(any(folder.rglob(f"{name}.*.nbi")) for name in names)


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
    pending = [name for name, text in sources.items() if hint in text and compiler in imported_names(name, text)]
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        if name in sources and name not in reached:
            reached.add(name)
            pending += imported_names(name, sources[name])
    digest = hashlib.sha256()
    for name in sorted(reached):
        digest.update(f"{name}\0{sources[name]}\0".encode())
    return digest.hexdigest()[:16]


def imported_names(module: str, source: str) -> set[str]:
    """Return the dotted names that a module's import statements can refer to, with the packages that contain them.

    For `from a.b import c` the result contains `a.b.c` too, because `c` may be a module. Relative imports are resolved
    against `module`, as a module and as a package. Only the import statements are parsed, since parsing everything
    would cost each process 0.1 s.
    """
    names: set[str] = set()
    for node in _imports(source):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for base in _bases(module, node):
                names.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
    return {name.rsplit(".", cut)[0] for name in names for cut in range(name.count(".") + 1)}


def _imports(source: str) -> Iterator[ast.AST]:
    try:
        for statement in IMPORT.findall(source):
            yield from ast.parse(statement).body
    except SyntaxError:  # a line of a docstring looks like an import
        yield from ast.walk(ast.parse(source))


def _bases(module: str, node: ast.ImportFrom) -> list[str]:
    """Return the names that `from … import` may import from; a relative one has two, as `module` may be a package."""
    if not node.level:
        return [node.module or ""]
    parents = (module.rsplit(".", node.level)[0], module.rsplit(".", node.level - 1)[0])
    return [f"{parent}.{node.module}" if node.module else parent for parent in parents]


def _create_folder(folder: Path) -> None:
    """Create a folder that contains the code precompiled for the same sources, if there is any."""
    precompiled = Path(os.environ.get("WORLDCURATE_COMPILED", os.devnull)) / folder.name
    if not precompiled.is_dir():
        folder.mkdir(exist_ok=True)
        return
    copy = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    shutil.copytree(precompiled, copy, dirs_exist_ok=True, copy_function=shutil.copyfile)
    try:
        copy.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(copy)


def prune(parent: Path) -> None:
    """Remove the folders of machine code that have been unused for `MAX_UNUSED_S` and that no process holds."""
    for folder in parent.iterdir():
        with suppress(OSError):  # another process may use, rename or remove it
            if FOLDER_NAME.fullmatch(folder.name) and time.time() - folder.stat().st_mtime > MAX_UNUSED_S:
                lock = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    shutil.rmtree(folder)
                finally:
                    os.close(lock)


def _lock(folder: Path, kind: int) -> int:
    """Lock a folder until the returned file descriptor is closed. Raises OSError when others hold it."""
    lock = os.open(f"{folder}.lock", os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, kind)
    except OSError:
        os.close(lock)
        raise
    return lock
