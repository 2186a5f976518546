"""The parts of a training method as typed settings; the defaults are plain contrastive training from random weights.

A method fills in these types; it does not change the training loop. Each type is a section of the configuration.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Part(BaseModel):
    """A part of a method: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(Part):
    """Which pairs of a batch are compared with each other, and how much of it is in memory at once."""

    ranks: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        "all", description="number of neighboring ranks whose pairs are compared with each other, or all"
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="parts in which a rank computes its pairs of a batch, to save memory; the loss is that of the "
        "whole batch, and every part is computed twice",
    )


class InfoNCE(Part):
    """The symmetric contrastive loss (CLIP, arXiv 2103.00020)."""

    kind: Literal["info_nce"] = "info_nce"


class Sigmoid(Part):
    """The pairwise sigmoid loss (SigLIP, arXiv 2303.15343)."""

    kind: Literal["sigmoid"] = Field(
        "sigmoid", description="info_nce: softmax over the batch; sigmoid: each pair alone (default: info_nce)"
    )
    bias: float = Field(-10.0, description="initial bias of the sigmoid loss, which is learned")


def _named(value: Any) -> Any:
    """Convert the name of a loss to its settings."""
    return {"kind": value} if isinstance(value, str) else value


Loss = Annotated[InfoNCE | Sigmoid, Field(discriminator="kind"), BeforeValidator(_named)]
