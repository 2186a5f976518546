"""Fetch packages of the npm registry by version and integrity hash, into the cache folder.

The registry is the public one, or that of the environment variable `npm_config_registry`. A download that was cut off
continues at the next start. A file with another hash is refused and removed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from curation import __version__
from curation.errors import InputError
from curation.io.cache_dir import cache_folder
from metadata.fetch.downloader import Downloader, DownloadFile
from proof.settings import Package

PUBLIC_REGISTRY = "https://registry.npmjs.org"


def registry() -> str:
    """Return the address of the registry, without a slash at its end."""
    configured = os.environ.get("npm_config_registry")  # noqa: SIM112 - npm's own name
    return (configured or PUBLIC_REGISTRY).rstrip("/")


def fetch(package: Package) -> Path:
    """Return the path of a package's tarball, which is downloaded unless the cache has it.

    Raises InputError if it cannot be fetched or has another hash than the one expected.
    """
    name = f"{package.package.rpartition('/')[2]}-{package.version}.tgz"
    folder = cache_folder() / "proof" / package.package.replace("/", "+")
    url = f"{registry()}/{package.package}/-/{name}"
    Downloader(f"worldcurate/{__version__}").fetch(DownloadFile(url, name), folder)
    path = folder / name
    if integrity_of(path.read_bytes()) != package.integrity:
        path.unlink()
        raise InputError(
            f"{url}: its hash is not the integrity in proof/world.yaml: it was removed; check the registry"
        )
    return path


def integrity_of(data: bytes) -> str:
    """Return the integrity of a file as npm writes it: `sha512-` and the hash in base64."""
    return f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"


def members(package: Package, below: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the files of a package, whose paths start with `below`, in the order of the tarball."""
    with tarfile.open(fetch(package), "r:gz") as archive:
        for member in archive:
            path = member.name.partition("/")[2]  # without `package/`
            if member.isfile() and path.startswith(below):
                content = archive.extractfile(member)
                assert content is not None
                yield path, content.read()


def read_member(package: Package, path: str) -> bytes:
    """Return the content of one file of a package. Raises InputError if the package lacks it."""
    for name, content in members(package, path):
        if name == path:
            return content
    raise InputError(f"{package.package} {package.version}: there is no {path} in it: check proof/world.yaml")
