"""Train with each given configuration, one after another in the same processes, because starting them is slow."""

from __future__ import annotations

import json
import sys

from curation.cli.settings import load_config
from training.config import TrainConfig
from training.distributed import join_process_group
from training.train import train

if __name__ == "__main__":
    with join_process_group() as world:
        for path in sys.argv[1:]:
            config = load_config(TrainConfig, ["--config", path], prog="train_each", description="", required=())
            summary = train(config, world)
            if world.is_main:
                sys.stdout.write(json.dumps(summary) + "\n")
