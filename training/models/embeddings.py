"""The output of both encoders."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Embeddings(NamedTuple):
    """Unit embeddings of images and of texts, both (n, embedding) float32, the logit scale, and the bias if any."""

    images: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor | None = None
