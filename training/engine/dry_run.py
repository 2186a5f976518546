"""What a run would need: parameters, memory, steps, pairs of each language, and the time of a few real steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from torch import nn

from training.config import TrainConfig
from training.distributed import World

MEASURED_STEPS = 10


class Parameters(NamedTuple):
    """Number of parameters of a model, and of those that are trained."""

    total: int
    trained: int

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Count the parameters of a model."""
        counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
        return cls(sum(count for count, _ in counts), sum(count for count, is_trained in counts if is_trained))


def describe_run(
    config: TrainConfig,
    world: World,
    *,
    parameters: Parameters,
    samples: int,
    languages: Counter[str],
    times: Mapping[str, float],
    peak_memory: int,
) -> dict[str, Any]:
    """Return the plan of a run.

    Args:
        config: its configuration.
        world: the processes.
        parameters: how many the model has.
        samples: number of samples of an epoch.
        languages: number of samples of each language in the first epoch.
        times: what `StepTimes` measured on real steps.
        peak_memory: most bytes of memory that a rank used in these steps.
    """
    seen = config.total_steps * config.batch_size
    return {
        "parameters": parameters.total,
        "trained_parameters": parameters.trained,
        "state_bytes_per_rank": state_bytes(
            parameters, world, average=config.ema_decay is not None, sharded=config.parallel == "fsdp"
        ),
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


def state_bytes(parameters: Parameters, world: World, *, average: bool, sharded: bool = False) -> int:
    """Return the bytes of a run's state on rank 0, all in fp32, without activations.

    They are 4 per parameter for the weights and 4 for an average of them; and per trained parameter 4 for the gradient,
    8 for the moments of AdamW and 4 for the buffers in which DDP adds up gradients. Under FSDP a rank stores its share,
    without such buffers.
    """
    weights = parameters.total * (8 if average else 4)
    if sharded:
        return (weights + parameters.trained * 12) // world.size
    return weights + parameters.trained * (16 if world.size > 1 else 12)
