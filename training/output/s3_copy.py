"""The copy of a run's output on S3. The run works in a folder of this host's cache; complete checkpoints are uploaded.

    s3://bucket/run/checkpoints/step-00000100/…   the files of a checkpoint, `manifest.json` last
    s3://bucket/run/checkpoints/latest            name of the newest complete checkpoint, written after it
    s3://bucket/run/metrics.jsonl, tensorboard/…  uploaded with every checkpoint and at the end

A checkpoint is chosen by `latest` only, so an upload that is killed leaves the earlier checkpoint in use.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from curation.errors import WorldcurateError
from curation.io.cache_dir import cache_folder
from curation.io.failures import first_line, named_failure
from curation.io.paths import is_s3, join, normalize_path
from curation.io.storage import Storage
from training.output.checkpoints import CHECKPOINTS, LATEST, PREFIX, old_names, write_latest
from training.output.lock import LOCK_FILE
from training.output.manifest import MANIFEST, DamagedCheckpointError, check_manifest, read_manifest

log = logging.getLogger(__name__)

CHUNK = 8 << 20
CONTINUED = ("metrics.jsonl", "examples.json", "trackers.json")  # what a run on another host goes on with


def working_folder(output: str) -> Path:
    """Return the local folder of a run: its output, or a folder of the cache if that is on S3."""
    if not is_s3(output):
        return Path(output)
    return cache_folder() / "runs" / hashlib.sha256(normalize_path(output).encode()).hexdigest()[:16]


class S3Copy(NamedTuple):
    """The output of a run on S3.

    Attributes:
        location: the output, `s3://bucket/run`.
        storage: reads and writes it.
    """

    location: str
    storage: Storage

    @classmethod
    def of(cls, output: str | None, storage: Storage) -> Self | None:
        """Return the copy of an output; None if it is a folder."""
        return cls(normalize_path(output), storage) if output is not None and is_s3(output) else None

    @classmethod
    def locate(cls, source: str, storage: Storage) -> tuple[Self, str | None]:
        """Return the copy and the name of a checkpoint on S3, or of the newest one of an output; None without one."""
        source = normalize_path(source)
        if storage.exists(join(source, MANIFEST)):
            folder, name = source.rsplit("/", 1)
            return cls(folder.removesuffix(f"/{CHECKPOINTS}"), storage), name
        copy = cls(source, storage)
        return copy, copy.newest()

    @property
    def folder(self) -> Path:
        """The local folder of the run."""
        return working_folder(self.location)

    def location_of(self, name: str) -> str:
        """Return the location of a checkpoint."""
        return join(self.location, CHECKPOINTS, name)

    def names(self) -> set[str]:
        """Return the names of all checkpoints, also of incomplete ones."""
        return set(self._files())

    def _files(self) -> dict[str, list[str]]:
        """Return the files of every checkpoint."""
        files: dict[str, list[str]] = {}
        root = join(self.location, CHECKPOINTS)
        for file in self.storage.list_files(root):
            name, _, path = file.path.removeprefix(root).strip("/").partition("/")
            if path:
                files.setdefault(name, []).append(path)
        return files

    def upload_files(self, folder: Path, files: Iterable[str], name: str) -> None:
        """Upload files of a folder to a checkpoint that is not complete yet. Raises InputError if S3 refuses one."""
        for file in files:
            self._upload(folder / file, join(self.location_of(name), file))

    def publish(self, checkpoint: Path, *, keep: int) -> None:
        """Upload the manifest of a checkpoint whose other files are uploaded, and set `latest` to it.

        Then remove incomplete checkpoints and all but the `keep` newest, and upload the logs.

        Raises InputError if S3 does not take it; `latest` is then unchanged.
        """
        self.upload_files(checkpoint, [MANIFEST], checkpoint.name)
        self._write(join(self.location, CHECKPOINTS, LATEST), checkpoint.name.encode())
        self._remove_old(checkpoint.name, keep)
        self.upload_logs()

    def _remove_old(self, newest: str, keep: int) -> None:
        try:
            complete = {name for name, files in self._files().items() if MANIFEST in files}
            for name in sorted(self.names() - complete) + old_names(complete, newest, keep):
                self.storage.delete_folder(self.location_of(name))
        except Exception as error:  # the new checkpoint is complete, and botocore's errors are no OSErrors
            log.warning("output: cannot remove old checkpoints in %s (%s)", self.location, first_line(error))

    def upload_logs(self) -> None:
        """Upload every file of the run that is not one of a checkpoint; one that S3 does not take is only named."""
        hidden = (CHECKPOINTS, ".")
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not name.startswith(hidden):
                try:
                    self._upload(path, join(self.location, name))
                except WorldcurateError as error:
                    log.warning("output: %s", error)

    def newest(self) -> str | None:
        """Return the name of the newest complete checkpoint, if there is one. Raises InputError."""
        pointer = join(self.location, CHECKPOINTS, LATEST)
        return self.storage.read_bytes(pointer).decode() if self.storage.exists(pointer) else None

    def local_folder(self, name: str) -> Path:
        """Return the folder of a checkpoint's copy on this host."""
        return self.folder / CHECKPOINTS / name

    def download(self, name: str, *, alone: bool = False) -> Path:
        """Return the folder of a checkpoint, downloaded unless it is there, and compared with its manifest.

        Args:
            name: the name of the checkpoint.
            alone: whether to remove the other checkpoints of this host afterwards.

        Raises:
            InputError: a file is missing or cannot be read.
            DamagedCheckpointError: a file differs from the manifest.
        """
        target = self.local_folder(name)
        manifest = self.storage.read_bytes(join(self.location_of(name), MANIFEST))
        if not _is_copy(target, manifest):
            temporary = target.with_name(f".unfinished-{name}")
            for leftover in (temporary, target):
                shutil.rmtree(leftover, ignore_errors=True)
            for file in read_manifest(manifest, self.location_of(name)):
                self._download(join(self.location_of(name), file), temporary / file)
            (temporary / MANIFEST).write_bytes(manifest)
            check_manifest(temporary, self.location_of(name))
            temporary.rename(target)
        if alone:
            for other in target.parent.glob(f"{PREFIX}*"):
                if other != target:
                    shutil.rmtree(other, ignore_errors=True)
        return target

    def start_in_folder(self) -> None:
        """Remove from the local folder what a run has left that is no longer on S3."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK_FILE:
                path.unlink()

    def continue_in_folder(self, name: str) -> None:
        """Prepare the local folder for a run that goes on from its downloaded checkpoint, perhaps on another host."""
        for log_file in CONTINUED:
            if self.storage.exists(join(self.location, log_file)):
                self._download(join(self.location, log_file), self.folder / log_file)
        write_latest(self.folder / CHECKPOINTS, name)

    def _upload(self, path: Path, target: str) -> None:
        with named_failure("write", target), path.open("rb") as source, self.storage.open_whole(target) as sink:
            shutil.copyfileobj(source, sink, CHUNK)

    def _write(self, target: str, data: bytes) -> None:
        with named_failure("write", target), self.storage.open_whole(target) as sink:
            sink.write(data)

    def _download(self, source: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with named_failure("read", source), self.storage.open_input(source) as stream, path.open("wb") as sink:
            shutil.copyfileobj(stream, sink, CHUNK)


def _is_copy(folder: Path, manifest: bytes) -> bool:
    """Return whether a folder holds exactly the files of a manifest."""
    if not (folder / MANIFEST).exists() or (folder / MANIFEST).read_bytes() != manifest:
        return False
    try:
        check_manifest(folder)
    except DamagedCheckpointError:
        return False
    return True


@contextmanager
def logs_uploaded(copy: S3Copy | None) -> Iterator[None]:
    """Upload the logs when the block ends, also with an error; do nothing without a copy."""
    try:
        yield
    finally:
        if copy:
            copy.upload_logs()
