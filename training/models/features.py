"""The output of a model for the views of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """What a training step compares.

    Attributes:
        rows: tensors of n rows by name. A view has its unit embeddings (n, d) under its name. Where a term reads them,
            the name and a suffix have further rows: `.raw` its projected features before normalization, `.predicted`
            and `.projected` the outputs of a siamese head, and `.words` losses of masked words (n, length).
        scalars: the logit scale as `scale`, and the bias, if the model has one, as `bias`; the scale and the bias of a
            single term have its name after a dot.
    """

    rows: Mapping[str, Tensor]
    scalars: Mapping[str, Tensor]
