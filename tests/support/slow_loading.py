"""Views whose images some loader workers read slowly, in a module that these processes can import."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch.utils.data import get_worker_info

from training.data.views.image_transform import ImageTransform
from training.data.views.rows import Transform
from training.data.views.text_transform import TextTransform


@dataclass(frozen=True)
class SlowTransform(ImageTransform):
    """The published transform, after a delay in the loader worker `worker`, or in this process."""

    worker: int | None = None
    seconds: float = 0.01

    def write(self, data, seed, result) -> None:
        worker = get_worker_info()
        if (worker.id if worker else None) == self.worker:
            time.sleep(self.seconds)
        super().write(data, seed, result)


def slow_views(worker: int | None = None, seconds: float = 0.01) -> dict[str, Transform]:
    """Return the default views with a slow image."""
    return {"image": SlowTransform(worker=worker, seconds=seconds), "text": TextTransform()}
