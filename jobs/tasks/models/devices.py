"""The device of a model that runs in a Spark task."""

from __future__ import annotations

from typing import Final

from pyspark import TaskContext

AUTO: Final = "auto"


def choose_device(name: str) -> str:
    """Return a device of torch; `auto` is the GPU that Spark gives to the task, else any GPU, else the CPU."""
    import torch

    if name != AUTO:
        return name
    task = TaskContext.get()
    gpus = task.resources().get("gpu") if task else None
    if gpus and gpus.addresses:
        return f"cuda:{gpus.addresses[0]}"
    return "cuda" if torch.cuda.is_available() else "cpu"
