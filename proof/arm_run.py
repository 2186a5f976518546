"""Train and measure one arm with one seed and one model size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from demo.commands import run_module
from proof.settings import Arm, World
from training.data.tokenizer import Tokenizer
from training.data.tokenizer_texts import Labeled, balance
from training.engine import checkpoint

RESULT_FILE = "result.json"
TOKENIZER = "tokenizer"


class ArmRun:
    """One run of an arm: its configuration, model and results in one folder.

    Attributes:
        folder: the folder of the run.
    """

    def __init__(
        self, world: World, arm: Arm, *, model: str, seen_pairs: int, seed: int, seed_folder: Path, folder: Path
    ) -> None:
        self.folder = folder.resolve()
        self._world, self._arm = world, arm
        self._model, self._seen_pairs = model, seen_pairs
        self._seed, self._seed_folder = seed, seed_folder.resolve()

    @property
    def is_done(self) -> bool:
        """Whether its result exists; a result of other parameters does not count."""
        path = self.folder / RESULT_FILE
        return path.exists() and json.loads(path.read_bytes())["config"] == self._config()

    def run(self, processes: int) -> None:
        """Train with a number of processes, from the newest checkpoint if there is one, and measure."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self._config()
        path = self.folder / "train.yaml"
        folders = {"lake": str(self._seed_folder / "lake"), "output": str(self.folder / "model"), "resume": True}
        folders["tokenizer"] = str(self._seed_folder / "world" / TOKENIZER)
        path.write_text(yaml.safe_dump({**config, **folders}, sort_keys=False), encoding="utf-8")
        run_module(
            self.folder / "train.log", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
            "-m", "training.train", "--config", str(path), OMP_NUM_THREADS="1",
        )  # fmt: skip
        last = checkpoint.find(self.folder / "model")
        assert last is not None, "training saves a checkpoint"
        results = self._measure(last)
        model = hashlib.sha256((last / "model.safetensors").read_bytes()).hexdigest()
        result = {"config": config, "model_sha256": model, "steps": last.name, **results}
        (self.folder / RESULT_FILE).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    def _measure(self, last: Path) -> dict[str, Any]:
        """Return the figures of a checkpoint; with one thread, they are the same at every run."""
        paths = {"checkpoint": last, "world": self._seed_folder / "world", "concepts": self.folder / "concepts.parquet"}
        flags = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
        figures: dict[str, Any] = json.loads(
            run_module(self.folder / "measure.log", "proof.measures", *flags, OMP_NUM_THREADS="1")
        )
        return figures

    def digest(self) -> str:
        """Return the hash of all that the run found: of its model and its results."""
        files = (self.folder / "concepts.parquet", self.folder / RESULT_FILE)
        return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()

    def _config(self) -> dict[str, Any]:
        """Return the keys of the trainer that determine the model."""
        length = {"pairs": "seen_pairs", "english": "seen_english_pairs"}[self._arm.length]
        return {
            "recipe": self._arm.recipe,
            "preset": self._model,
            "seed": self._seed,
            length: self._seen_pairs,
            "deterministic": True,
            "log_every": 20,
            "save_every": 500,
            "keep_checkpoints": 1,
            **self._world.training,
            **self._arm.training,
        }


def write_tokenizer(world: World, seed_folder: Path) -> None:
    """Train the tokenizer that all arms of a seed share, on the texts of the pages, with rare languages raised."""
    folder = seed_folder / "world" / TOKENIZER
    size, length = world.tokenizer, world.training["context_length"]
    texts = list(_texts(seed_folder / "world" / "pictures.jsonl"))
    every = max(1, len(texts) // size.texts)
    trained = Tokenizer.train(balance(texts[::every], size.alpha), vocab_size=size.vocab_size, context_length=length)
    folder.mkdir(exist_ok=True)
    trained.save(folder)


def _texts(path: Path) -> Iterator[Labeled]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield row["lang"], row["text"]
