"""Trains by each configuration named, one after the other in the same processes, which cost seconds to start."""

from __future__ import annotations

import json
import sys

from curation.cli.settings import load_config
from training.config import TrainConfig
from training.distributed import join
from training.train import train

if __name__ == "__main__":
    with join() as world:
        for path in sys.argv[1:]:
            config = load_config(TrainConfig, ["--config", path], prog="train_each", description="", required=())
            summary = train(config, world)
            if world.is_main:
                sys.stdout.write(json.dumps(summary) + "\n")
