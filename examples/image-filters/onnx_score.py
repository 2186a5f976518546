"""An image filter that scores images with an ONNX model, such as a classifier of nudity or a detector of faces.

    pip install 'worldcurate[onnx]'          # for GPUs onnxruntime-gpu instead of onnxruntime
    export PYTHONPATH=examples/image-filters # of the job and of every executor

    images:
      filters:
        - {filter: "onnx_score:OnnxScore", name: nsfw, model: nsfw.onnx, label: 1, activation: softmax, max_score: 0.8}

The model takes float32 images [n, 3, size, size] and returns [n, labels] or [n].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from curation.images.filters.base import DecodedImage, Verdict


class OnnxScore:
    """Drops images whose score is above `max_score`; the default keeps all, so the filter only scores.

    Args:
        model: the file.
        name: names the drop reason and the score.
        max_score: images with more are dropped.
        label: the output that is the score.
        activation: what makes a score from 0 to 1 of the outputs, unless the model does it.
        size: the side to which images are resized.
        mean: of red, green and blue, subtracted after division by 255.
        std: by which the difference is divided.
        providers: where the model runs, such as [CUDAExecutionProvider]; see onnxruntime.
    """

    version = "1"
    score_range = (0.0, 1.0)
    reads_texts = False
    thresholds = ("max_score",)

    def __init__(
        self,
        model: str,
        name: str = "onnx_score",
        *,
        max_score: float = 1.0,
        label: int = 0,
        activation: Literal["none", "softmax", "sigmoid"] = "none",
        size: int = 224,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        if not Path(model).is_file():
            raise ValueError(f"there is no model {model}")
        if activation not in ("none", "softmax", "sigmoid"):
            raise ValueError("activation must be none, softmax or sigmoid")
        self.name = name
        self._model, self._providers, self._size = model, list(providers), size
        self._max_score, self._label, self._activation = max_score, label, activation
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)

    def __call__(self, images: Sequence[DecodedImage]) -> list[Verdict]:
        """Return the verdicts; images go through the model one by one, so that no score depends on the others."""
        return [self.verdict(self._score(image.pixels)) for image in images]

    def verdict(self, score: float) -> Verdict:
        """Return the verdict of an image with this score."""
        return Verdict(score <= self._max_score, score)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a task has one core
        return onnxruntime.InferenceSession(self._model, options, providers=self._providers)

    def _score(self, pixels: np.ndarray) -> float:
        resized = Image.fromarray(pixels).resize((self._size, self._size), Image.Resampling.BICUBIC)
        values = (np.asarray(resized, np.float32) / 255 - self._mean) / self._std
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis])
        [output, *_] = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        logits = np.asarray(output, np.float64).reshape(-1)
        if self._activation == "softmax":
            exponentials = np.exp(logits - logits.max())
            logits = exponentials / exponentials.sum()
        elif self._activation == "sigmoid":
            logits = 1 / (1 + np.exp(-logits))
        return round(float(logits[self._label]), 6)
