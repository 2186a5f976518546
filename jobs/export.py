"""Export shards as WebDataset tars, as a Hugging Face dataset or as JSON Lines.

    python -m jobs.export --config c.yaml --format webdataset --output /data/tars
    python -m jobs.export --config c.yaml --format hf --output s3://bucket/set --version 12 --batches 2024-05-31
    python -m jobs.export --config c.yaml --format hf --output /data/set --dataset all

Rows are exported in the order of the shards or of a compacted dataset, at one version of the table, without images that
a tombstone names. A run that was killed continues when it is started again, with the same bytes as without the kill. A
finished export has a manifest, and a card with languages, thresholds and notices. An existing folder is continued only
with the same settings.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.lists import split_names
from curation.cli.run import run_command
from curation.errors import OutputError, UsageError
from curation.export.card import card
from curation.export.folder import CARD, ExportFolder
from curation.export.formats import FORMATS
from curation.export.part import Part
from curation.io.paths import normalize_path
from curation.lake.tombstones import Tombstones
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.tasks.export.parts import plan_parts
from jobs.tasks.export.plan import Selection, plan_export, select_dataset, select_shards
from jobs.tasks.export.write import PartRows, WritePart
from metadata.languages import LanguageTable

log = logging.getLogger(__name__)

SIZES = "sizes.json"  # rows per tar, as open_clip reads them


class ExportOptions(CommandOptions):
    """What to export, and where to."""

    format: Literal["webdataset", "hf", "jsonl"] | None = Field(
        None,
        description="webdataset = tars of images, texts and JSON; hf = a folder that `datasets` opens; "
        "jsonl = URLs and texts without images (required)",
    )
    output: str | None = Field(None, description="folder or s3:// prefix of the export (required)")
    version: int | None = Field(
        None,
        ge=0,
        description="version of the table `shards`, or `compacted` with --dataset; default: the newest, or that of the "
        "export to continue",
    )
    batches: str | None = Field(None, description="batches, separated by commas; default: all that have shards")
    dataset: str | None = Field(None, description="compacted dataset to export, in the place of batches (jobs.compact)")
    shard_bytes: int = Field(256 << 20, ge=1, description="approximate bytes per file")


COMMAND = Command("python -m jobs.export", __doc__ or "", ExportOptions, Config, required=("lake",))


def export(argv: Sequence[str]) -> None:
    """Export what the arguments ask for; write the path and the size of the export to stdout."""
    options, config = COMMAND.parse(argv)
    missing = [f"--{name}" for name in ("format", "output") if getattr(options, name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)}: missing: give {'them' if missing[1:] else 'it'} as flags")
    context = Context(config, "export")
    parts = run_export(context, options)
    rows, size = sum(part.rows for part in parts), sum(part.size for part in parts)
    sys.stdout.write(f"{options.output}: {rows:,} rows in {len(parts):,} files ({size:,} bytes)\n")


def run_export(context: Context, options: ExportOptions) -> list[Part]:
    """Write what is missing of an export and return its files."""
    started = datetime.now(UTC)
    folder = open_folder(context, options.output or "")
    recorded = folder.recorded()
    version = options.version
    if version is None and recorded is not None:
        version = recorded["request"]["version"]
    selection = _select(context, options, version)
    tombstones = Tombstones.read(context.lake)
    settings = {"format": options.format, "shard_bytes": options.shard_bytes}
    plan = folder.begin(plan_export(context, selection, tombstones, settings))

    name = str(options.format)
    slices = plan_parts(selection.files, FORMATS[name], options.shard_bytes)
    units = [PartRows(i, FORMATS[name].file_name(i, len(slices)), rows) for i, rows in enumerate(slices)]
    finished = folder.finished()
    left = [unit for unit in units if unit.name not in finished]
    if not left and folder.is_complete():
        log.info("export: nothing to do: %s is complete", folder.manifest_path)
        return [finished[unit.name] for unit in units]
    task = WritePart(context.storage, folder.root, name, tombstones)
    finished |= {part.name: part for part in context.run_tasks("export", left, task)}
    parts = [finished[unit.name] for unit in units]
    _check_rows(sum(file.rows for file in selection.files), parts)
    folder.finish(plan, parts, _other_files(plan, parts), started=started)
    return parts


def _select(context: Context, options: ExportOptions, version: int | None) -> Selection:
    if options.dataset is None:
        return select_shards(context, version, split_names(options.batches) if options.batches else None)
    if options.batches is not None:
        raise UsageError("--batches, --dataset: a dataset has its own batches: give only one of them")
    return select_dataset(context, version, options.dataset)


def open_folder(context: Context, output: str) -> ExportFolder:
    """Return the folder of an export. Raises UsageError if it is inside the lake, whose files belong to its tables."""
    root, lake = normalize_path(output), context.lake.root
    if f"{root}/".startswith(f"{lake}/"):
        raise UsageError(f"--output: {root}: is inside the lake: give a folder outside of {lake}")
    return ExportFolder(context.storage, root)


def _check_rows(read: int, parts: Sequence[Part]) -> None:
    written, hidden = sum(part.rows for part in parts), sum(part.hidden for part in parts)
    if read != written + hidden:
        raise OutputError(
            f"export: counts do not add up: read {read} rows of shards, {written} written + {hidden} hidden by "
            f"tombstones: delete the folder and export again"
        )
    log.info("export: %d rows read, %d written, %d hidden by tombstones", read, written, hidden)


def _other_files(plan: Mapping[str, Any], parts: Sequence[Part]) -> dict[str, bytes]:
    """Return the small files beside the data, by name."""
    files = {CARD: card(plan, parts, LanguageTable.load().names).encode()}
    if plan["request"]["format"] == "webdataset":
        files[SIZES] = json.dumps({part.name: part.rows for part in parts}, indent=1).encode()
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(export, argv)


if __name__ == "__main__":
    sys.exit(main())
