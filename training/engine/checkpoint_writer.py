"""Write a checkpoint: every rank its share to a temporary folder, read back, synced; rank 0 completes and renames it.

Rank 0 writes the model as Hugging Face reads it, from the blocks of all ranks, and every rank its share of the
optimizer's state. `latest` is updated last. A save that is killed or fails leaves the earlier checkpoints and `latest`
unchanged, and the next save removes what is left of it. Weights that are not finite are never saved.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from curation.errors import OutputError, StorageFullError, WorldcurateError
from curation.io.failures import first_line
from curation.io.local_files import sync_path
from training.data.transforms import processor_config
from training.distributed import World
from training.engine.checkpoint import OPTIMIZER_FOLDER, TEMP_PREFIX, WEIGHTS_FILE
from training.engine.snapshot import Snapshot
from training.models.metaclip2 import image_size
from training.output.checkpoints import CHECKPOINTS, PREFIX, old_names, unused_name, write_latest
from training.output.lock import unseen_output
from training.output.manifest import MANIFEST, Entry, file_entry, write_manifest
from training.output.s3_copy import S3Copy
from training.output.tensor_file import whole, write_tensors
from training.parallel.blocks import bytes_of, gather_bytes

log = logging.getLogger(__name__)


def save(world: World, output: Path, snapshot: Snapshot, *, keep: int, s3_copy: S3Copy | None = None) -> None:
    """Write a checkpoint, set `latest` to it, and remove all but the `keep` newest ones; every rank must call it.

    With a copy on S3, `keep` applies there, and the folder holds the newest checkpoint only.

    Raises OutputError if a weight or a moment of the optimizer is not finite, or if the files read back differ,
    StorageFullError if they cannot be written, and UsageError if a rank does not see the folder. One rank raises it,
    the others end with its exit code. The earlier checkpoints then stay, and `latest` names the same one.
    """
    folder = output / CHECKPOINTS
    name = world.broadcast_from_main(lambda: _make_folder(folder, snapshot, s3_copy))
    temporary, final = folder / f"{TEMP_PREFIX}{name}", folder / name
    try:
        visible = world.all_gather(lambda: _check(snapshot, temporary))
        if not all(visible) and not s3_copy:
            world.fail(unseen_output(visible.index(False), folder))
        mine = temporary if visible[world.rank] else _folder_of_rank(temporary, world.rank)
        entries = world.all_gather(lambda: _write_share(world, mine, final, snapshot, s3_copy))
        merged = {file: entry for written in entries for file, entry in written.items()}
        world.broadcast_from_main(lambda: _complete(temporary, final, merged, keep, s3_copy))
    except (WorldcurateError, SystemExit):
        if world.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def _make_folder(folder: Path, snapshot: Snapshot, s3_copy: S3Copy | None) -> str:
    """Make the temporary folder of a new checkpoint, remove those of earlier saves, and return its name."""
    taken = s3_copy.names() if s3_copy else set()
    with _named_failure(folder / unused_name(snapshot.state.step, taken)):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{TEMP_PREFIX}*"):
            shutil.rmtree(leftover)
        name = unused_name(snapshot.state.step, {*_names(folder), *taken})
        (folder / f"{TEMP_PREFIX}{name}").mkdir()
    return name


def _check(snapshot: Snapshot, temporary: Path) -> bool:
    """Return whether this rank sees the folder of rank 0. Raises OutputError if its share is not finite."""
    snapshot.check_finite()
    return temporary.is_dir()


def _folder_of_rank(temporary: Path, rank: int) -> Path:
    """Return the folder of a rank whose host does not see that of rank 0, without those of its earlier saves."""
    for leftover in temporary.parent.glob(f"{TEMP_PREFIX}*-rank{rank}"):
        shutil.rmtree(leftover, ignore_errors=True)
    return temporary.with_name(f"{temporary.name}-rank{rank}")


def _write_share(
    world: World, folder: Path, final: Path, snapshot: Snapshot, s3_copy: S3Copy | None
) -> dict[str, Entry]:
    """Write this rank's files of a checkpoint, compare and sync them, and return their entries in the manifest."""
    with _named_failure(final):
        digests = _write_weights(world, folder, snapshot) | _write_moments(world, folder, snapshot)
        small = _write_settings(folder, snapshot) if world.is_main else []
        entries = {file: file_entry(folder / file) for file in (*digests, *small)}
        for file, digest in digests.items():
            if entries[file]["sha256"] != digest:
                raise OutputError(
                    f"output: {folder / file} differs from what was written: check the disk; `latest` is unchanged"
                )
        for file in entries:
            sync_path(folder / file)
    if s3_copy:
        s3_copy.upload_files(folder, entries, final.name)
        if folder.name != f"{TEMP_PREFIX}{final.name}":  # nothing else goes there
            shutil.rmtree(folder, ignore_errors=True)
    return entries


def _write_weights(world: World, folder: Path, snapshot: Snapshot) -> dict[str, str]:
    """Write the files of whole tensors on rank 0, and return the SHA-256 of what was written by file."""
    blocks = [saved for saved in snapshot.blocks if saved.file != OPTIMIZER_FOLDER]
    pieces, digests = gather_bytes(world, blocks, snapshot.share), {}
    try:
        if world.is_main:
            for file, of_file in groupby(blocks, lambda saved: saved.file):
                (folder / file).parent.mkdir(exist_ok=True)
                digests[file] = write_tensors(folder / file, whole(saved.block for saved in of_file), pieces)
    finally:
        for _ in pieces:  # the other ranks wait until their blocks are taken
            pass
    return digests


def _write_moments(world: World, folder: Path, snapshot: Snapshot) -> dict[str, str]:
    """Write this rank's share of the optimizer's state, and return the SHA-256 of what was written by file."""
    share = {saved.block: value for saved, value in snapshot.share.items() if saved.file == OPTIMIZER_FOLDER}
    if not share:
        return {}
    (folder / OPTIMIZER_FOLDER).mkdir(parents=True, exist_ok=True)
    file = f"{OPTIMIZER_FOLDER}/rank-{world.rank:05d}.safetensors"
    pieces = (piece for value in share.values() for piece in bytes_of(value))
    return {file: write_tensors(folder / file, list(share), pieces)}


def _write_settings(folder: Path, snapshot: Snapshot) -> list[str]:
    """Write all files without tensors, on rank 0, and return their paths."""
    config = snapshot.model.config
    config.architectures = [type(snapshot.model).__name__]
    config.dtype = str(snapshot.model.dtype).removeprefix("torch.")
    for weights in folder.rglob(WEIGHTS_FILE):
        config.save_pretrained(weights.parent)
        snapshot.tokenizer.save(weights.parent)
        processor = json.dumps(processor_config(image_size(snapshot.model)), indent=1)
        weights.with_name("preprocessor_config.json").write_text(processor, encoding="utf-8")
    (folder / "training.json").write_text(snapshot.state.model_dump_json(indent=1), encoding="utf-8")
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.json")]


def _complete(temporary: Path, final: Path, entries: Mapping[str, Entry], keep: int, s3_copy: S3Copy | None) -> None:
    """Write the manifest, rename the folder, set `latest` to it, and remove old checkpoints."""
    with _named_failure(final):
        write_manifest(temporary, entries)
        for path in (temporary / MANIFEST, *filter(Path.is_dir, temporary.rglob("*")), temporary):
            sync_path(path)
        temporary.rename(final)
        sync_path(final.parent)
        write_latest(final.parent, final.name)
    _remove_old(final, 1 if s3_copy else keep)
    if s3_copy:
        s3_copy.publish(final, keep=keep)
    log.info("saved %s", s3_copy.location_of(final.name) if s3_copy else final)


def _remove_old(newest: Path, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints; one that cannot be removed is only named in the log."""
    for name in old_names(_names(newest.parent), newest.name, keep):
        path = newest.with_name(name)
        try:
            shutil.rmtree(path)
        except OSError as error:
            log.warning("output: cannot remove the old checkpoint %s (%s): remove it by hand", path, first_line(error))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob(f"{PREFIX}*")}


@contextmanager
def _named_failure(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFullError(
            f"output: cannot save {checkpoint} ({first_line(error)}): check the space on the disk, then continue with "
            f"resume: true; earlier checkpoints are unchanged"
        ) from error
