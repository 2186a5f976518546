"""Train a model on the shards of a recipe: `python -m training.train --config t.yaml`, or under torchrun.

    torchrun --nproc-per-node 2 -m training.train --config t.yaml

Progress is logged to stderr and to TensorBoard files in the output folder; a JSON summary is printed to stdout at the
end.

exit codes, as in docs/operations.md:
  0    done, or nothing to do
  1    a bug; the traceback is on stderr
  2    usage, config or set-up
  3    unreadable input, a lost rank, or a signal after the last step was saved: retry
  4    damaged file, or a loss, weight or checkpoint that failed its checks; earlier checkpoints are unchanged
  5    a checkpoint cannot be written; make room
  130  interrupted (Ctrl-C)
  143  SIGTERM before the first step
torchrun itself exits with 1 if any of its processes failed, and prints their codes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from curation.cli.run import run_command
from curation.cli.settings import config_parser, load_with
from curation.errors import InputError, UsageError
from curation.io.paths import is_s3
from curation.lake.lake import Lake
from training.config import TrainConfig
from training.data.epochs.samples import EpochSamples
from training.data.loader import start_worker_server
from training.data.shard_index import TrainValSplit, build_index
from training.data.views.rows import annotation_columns
from training.distributed import World, join_process_group
from training.engine import checkpoint
from training.engine.checkpoint import ResumePoint, TrainingState
from training.engine.languages import count_languages, with_seen_pairs
from training.engine.resume import check_changes, check_makers
from training.engine.start import RunStart, make_model, make_tokenizer
from training.engine.trackers import check_packages
from training.engine.trainer import Trainer
from training.evaluation.in_training import check_evaluations
from training.launcher import reported_once
from training.methods.catalog import methods
from training.output.lock import LOCK_FILE, lock_output, unseen_output
from training.output.manifest import check_manifest
from training.output.s3_copy import S3Copy
from training.sequence.language_runs import Complete, learn_languages

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Read the configuration, train, and print the summary."""
    parser = config_parser("python -m training.train", __doc__ or "")
    parser.add_argument(
        "--dry_run", action="store_true", help="train a few steps, write nothing, and print the plan of the run"
    )
    width = max(map(len, methods()))
    lines = "\n".join(f"{name:{width}}  {method.summary}" for name, method in methods().items())
    parser.add_argument_group("methods, as values of --method (docs/methods.md)", lines)
    with reported_once():
        config, options = load_with(parser, TrainConfig, argv, required=("lake", "output"))
        with join_process_group(config.device) as world:
            if not world.is_main:
                logging.getLogger().setLevel(logging.WARNING)
            summary = train(config, world, dry_run=options["dry_run"])
    if world.is_main:
        sys.stdout.write(json.dumps(summary) + "\n")


def train(config: TrainConfig, world: World, *, dry_run: bool = False) -> dict[str, Any]:
    """Train up to the configured number of steps and return the summary of the run, or the plan of a dry run.

    Raises UsageError if the configuration does not fit the checkpoint or the data, InputError if shards or a
    checkpoint cannot be read, OutputError if the loss is not finite. Checkpoints saved before an error stay usable.
    """
    if config.batch_size % world.size:
        world.fail(UsageError(f"batch_size: {config.batch_size} is not a multiple of the {world.size} processes"))
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as torch demands before the first use of the GPU
        torch.use_deterministic_algorithms(True)
    with ExitStack() as stack:
        if not dry_run:
            world.broadcast_from_main(lambda: check_packages(config))
            world.broadcast_from_main(lambda: stack.enter_context(lock_output(config.output_folder)))
            visible = world.all_gather((config.output_folder / LOCK_FILE).exists)
            if not all(visible) and not config.s3_copy():
                world.fail(unseen_output(visible.index(False), config.output_folder))
        if not config.sequence.languages:
            return _train(config, world, dry_run=dry_run)
        return learn_languages(
            config,
            world,
            lambda of_language, complete: _train(of_language, world, dry_run=dry_run, complete=complete),
            dry_run=dry_run,
        )


def _train(config: TrainConfig, world: World, *, dry_run: bool, complete: Complete | None = None) -> dict[str, Any]:
    """Train a run, of which the output is locked; `complete` completes its start."""
    resume = world.broadcast_from_main(lambda: _find_resume_point(config, dry_run=dry_run))
    if resume and is_s3(_resume_source(config)):  # the hosts of other ranks have no copy of it yet
        first_of_host = os.environ.get("LOCAL_RANK", "0") == "0" and not world.is_main
        world.all_gather(lambda: _resume_folder(config, dry_run=dry_run) if first_of_host else None)
        s3_copy, _ = S3Copy.locate(_resume_source(config), config.open_storage())
        resume = resume._replace(folder=s3_copy.local_folder(resume.folder.name))
    world.broadcast_from_main(lambda: check_evaluations(config.evaluations))
    if config.num_workers:
        start_worker_server()
    config = config.with_streams(world.size, resume.state.config if resume else None)
    split = world.broadcast_from_main(lambda: _index_shards(config, resume.state if resume else None))
    samples = EpochSamples(
        split,
        config.open_storage(),
        world,
        mixture=config.mixture,
        batch_size=config.batch_size,
        draws=config.draw == "online",
        languages=None if config.languages == "all" else config.languages,
    )
    languages: Counter[str] = Counter()
    if config.seen_english_pairs is not None or dry_run:
        first = samples.index(0)
        languages = world.broadcast_from_main(lambda: count_languages(first, config.open_storage()))
    if config.seen_english_pairs is not None:
        config = with_seen_pairs(config, languages)
        log.info("seen_pairs: %d, of which %d are English", config.seen_pairs, config.seen_english_pairs)
    if resume:
        model, tokenizer = checkpoint.load_model(resume.folder)
    else:
        tokenizer = world.broadcast_from_main(lambda: make_tokenizer(config, split))
        model = make_model(config, tokenizer)
    start = RunStart(model, tokenizer, resume)
    trainer = Trainer(config, world, samples, complete(start, split) if complete else start)
    return trainer.dry_run(languages) if dry_run else trainer.run()


def _find_resume_point(config: TrainConfig, *, dry_run: bool) -> ResumePoint | None:
    """Return the checkpoint to resume from; None for a new run. Only a dry run leaves a folder of S3 alone."""
    source, folder = _resume_source(config), _resume_folder(config, dry_run=dry_run)
    s3_copy = None if dry_run else config.s3_copy()
    if folder is None:
        if isinstance(config.resume, str):
            raise InputError(f"resume: {source} contains no checkpoint: pass a checkpoint or an output folder")
        if s3_copy:
            s3_copy.start_in_folder()
        return None
    if not config.resume:
        raise UsageError(f"output: {source} already contains a run: set resume: true, or choose another folder")
    if not is_s3(source):  # a download is compared at once
        check_manifest(folder)
    state = TrainingState.read(folder)
    check_changes(config.with_streams(1, state.config), folder, state)
    if s3_copy and folder.is_relative_to(s3_copy.folder):
        s3_copy.continue_in_folder(folder.name)
    log.info("resuming from %s: %d steps are done", folder, state.step)
    return ResumePoint(folder, state)


def _resume_source(config: TrainConfig) -> str:
    assert config.output is not None, "load_config requires this key"
    return config.resume if isinstance(config.resume, str) else config.output


def _resume_folder(config: TrainConfig, *, dry_run: bool) -> Path | None:
    """Return the folder of the checkpoint to resume from, if there is one; one on S3 is downloaded if it will be.

    A run that goes on with its own checkpoint removes the others of this host; a dry run has no lock to do so.
    """
    source = _resume_source(config)
    if not is_s3(source):
        return checkpoint.find(Path(source))
    s3_copy, name = S3Copy.locate(source, config.open_storage())
    if name is None:
        return None
    if not config.resume:
        return s3_copy.local_folder(name)
    return s3_copy.download(name, alone=not dry_run and s3_copy.folder == config.output_folder)


def _index_shards(config: TrainConfig, state: TrainingState | None) -> TrainValSplit:
    assert config.lake is not None, "load_config requires this key"
    lake = Lake(config.lake, config.open_storage())
    lake.check_exists()
    if config.version is not None and not state:
        for recipe in config.recipes:
            _check_version(lake, recipe, config.dataset, config.version)
    split = build_index(
        lake,
        *config.recipes,
        batches=config.batches,
        dataset=config.dataset,
        version=state.version if state else config.version,
        validation_share=config.validation_share,
        online=config.draw == "online",
        languages=config.languages,
        read_languages=config.language_temperature != 1,
        annotations=annotation_columns(config.transforms.values()),
        select=config.intervals,
    )
    index = split.train
    if state and index.run_ids != state.run_ids:
        raise UsageError(
            f"resume: version {index.version} of the shards in {lake.root} was written by {', '.join(index.run_ids)}, "
            f"but the checkpoint was trained on {', '.join(state.run_ids)}: use that lake, or start a new run"
        )
    if state:
        check_makers(index.makers, state)
    if state and index.samples != state.samples:
        log.warning(
            "%d pairs to train on, %d when the checkpoint was saved: tombstones have changed, so the order of the "
            "samples differs from here on",
            index.samples,
            state.samples,
        )
    if index.samples < config.batch_size:
        raise UsageError(f"batch_size: {config.batch_size} is more than the {index.samples} pairs to train on")
    kind = "matched images to draw pairs from" if config.draw == "online" else "pairs to train on"
    log.info("%d %s, %d pairs held out", index.samples, kind, split.validation.samples)
    return split


def _check_version(lake: Lake, recipe: str, dataset: str | None, version: int) -> None:
    """Raise UsageError if the table has no such version, or no shards of the recipe (or dataset) at it."""
    name, partition = "shards", {"recipe": recipe}
    if dataset is not None:
        name, partition = "compacted", partition | {"dataset": dataset}
    versions = [int(commit["version"]) for commit in lake.commits(name)]
    if not versions or not lake.snapshot(name, partition).files:
        return  # whatever the version is: `build_index` says so
    table, known = lake.layout.table(name), f"versions {min(versions)} to {max(versions)}"
    if version not in versions:
        raise UsageError(f"version: {table} has no version {version}: choose one of its {known}")
    if not lake.snapshot(name, partition, version).files:
        raise UsageError(
            f"version: version {version} of {table} has no shards of recipe {recipe!r}: choose a later one"
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
