"""What a run would need: parameters, memory, steps, pairs of each language, and the time of a few real steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from training.config import TrainConfig
from training.distributed import World

MEASURED_STEPS = 10


def describe_run(
    config: TrainConfig,
    world: World,
    *,
    parameters: int,
    samples: int,
    languages: Counter[str],
    times: Mapping[str, float],
    peak_memory: int,
) -> dict[str, Any]:
    """Return the plan of a run.

    Args:
        config: its configuration.
        world: the processes.
        parameters: number of parameters of the model.
        samples: number of samples of an epoch.
        languages: number of samples of each language; empty if every epoch draws others.
        times: what `StepTimes` measured on real steps.
        peak_memory: most bytes of memory that a rank used in these steps.
    """
    seen = config.total_steps * config.batch_size
    return {
        "parameters": parameters,
        "state_bytes_per_rank": parameters * state_bytes(world, average=config.ema_decay is not None),
        "peak_memory_bytes": peak_memory,
        "processes": world.size,
        "steps": config.total_steps,
        "warmup_steps": config.warmup,
        "seen_pairs": seen,
        "epochs": round(config.total_steps / max(1, samples // config.batch_size), 3),
        "seen_pairs_by_language": {name: round(seen * n / languages.total()) for name, n in languages.items()},
        **times,
        "about_seconds": round(config.total_steps * times.get("step_seconds_p50", 0.0)),
    }


def state_bytes(world: World, *, average: bool) -> int:
    """Return the bytes per parameter on rank 0, all in fp32, without activations.

    They are 4 for the weights, 4 for the gradient, 8 for the moments of AdamW, 4 for the buffers in which DDP adds up
    gradients, and 4 for an average of the weights.
    """
    return 16 + (4 if world.size > 1 else 0) + (4 if average else 0)
