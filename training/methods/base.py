"""The parts of a training method as typed settings; the defaults are plain contrastive training from random weights.

A method fills in these types; it does not change the training loop. Each type is a section of the configuration.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.cli.locations import Location
from training.optimizers.row_factors import Factored
from training.optimizers.schedules import Schedule


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


class Start(Part):
    """Where the weights come from: random, a pretrained model, or two encoders of different models."""

    checkpoint: Location | None = Field(
        None, description="folder of a Hugging Face MetaClip2 or CLIP model whose weights and tokenizer to start from"
    )
    vision: Location | None = Field(
        None, description="folder whose image encoder to start from; the text encoder is random or from start.text"
    )
    text: Location | None = Field(
        None, description="folder whose text encoder and tokenizer to start from; the image encoder as above"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.checkpoint and (self.vision or self.text):
            raise ValueError("set either checkpoint, or vision and text")
        return self

    @property
    def text_source(self) -> str | None:
        """The folder with the text encoder and the tokenizer, if any."""
        return self.checkpoint or self.text

    @property
    def vision_source(self) -> str | None:
        """The folder with the image encoder, if any."""
        return self.checkpoint or self.vision


class Scale(Part):
    """The factor of the cosine similarities."""

    initial: float | None = Field(
        None, gt=0, description="initial value; default: that of the start, or 1/0.07 (10 for the sigmoid loss)"
    )
    learned: bool = Field(True, description="whether it is trained")
    min: float = Field(1.0, ge=1, description="lower bound of a learned scale")
    max: float = Field(100.0, gt=1, description="upper bound of a learned scale")

    @model_validator(mode="after")
    def _initial_within_bounds(self) -> Self:
        if self.min >= self.max:
            raise ValueError(f"min: {self.min:g} is not less than max, {self.max:g}: lower it")
        if self.learned and self.initial is not None and not self.min <= self.initial <= self.max:
            raise ValueError(
                f"initial: {self.initial:g} is not between {self.min:g} and max, {self.max:g}, the bounds of a learned "
                f"scale: change one of them, or set learned: false"
            )
        return self


class Phase(Part):
    """Which parameters are trained, and how fast. Patterns match whole parameter names; `*` matches any characters."""

    train: tuple[str, ...] = Field(("*",), min_length=1, description="name patterns of the parameters to train")
    freeze: tuple[str, ...] = Field((), description="name patterns of parameters that stay as they are")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor of the learning rate from each layer of an encoder to the layer below"
    )
    optimizer: Literal["adamw", "adabelief"] = Field(
        "adamw", description="adamw, or adabelief (arXiv 2010.07468), which has its own eps, 1e-16"
    )
    schedule: Schedule = Field(
        "cosine", description="learning rate after the warm-up: cosine or linear fall to 0, or constant"
    )
    warmup_from_zero: bool = Field(
        False, description="whether the first step of the warm-up has rate 0, as in optax, or peak / warmup_steps"
    )
    adaptive_clip: float | None = Field(
        None,
        gt=0,
        description="largest ratio of the gradient's norm to that of the weights, for each row of a matrix and each "
        "vector (arXiv 2102.06171); default: no limit",
    )
    row_factors: tuple[Factored, ...] = Field(
        (),
        description="what is multiplied by 1/n for each token embedding, where n is the number of languages that use "
        "the token, and by 0 if the language that is learned does not use it: gradient, decay, step (the optimizer's "
        "update); needs sequence.languages (TEIR, arXiv 2401.17186; step is not published)",
    )
    scale: Scale = Scale()


class PartialPhase(Phase):
    """One of several phases of a run, each with an optimizer of its own."""

    share: float = Field(1.0, gt=0, description="share of the run's steps, relative to those of the other phases")
    lr: float | None = Field(None, gt=0, description="peak learning rate of the phase; default: lr")
    warmup_steps: int | None = Field(
        None, ge=0, description="steps of its linear warm-up; default: as for a run of the length of the phase"
    )


class Video(Part):
    """How the image encoder reads frames (CLIP-ViP, arXiv 2209.06430), in a run with a view of kind frames."""

    proxies: int = Field(
        4, ge=1, description="tokens that attend to all frames; the first is the class token, others are added to it"
    )
    time_rows: int = Field(
        12, ge=1, description="rows of the table of times, between which the times of the frames are read"
    )


class Bounds(Part):
    """Which samples are left out by a column of annotations: those without a value, and those out of bounds."""

    at_least: float | None = Field(None, description="smallest value; default: no bound")
    below: float | None = Field(None, description="smallest value that is too large; default: no bound")


class Targets(Part):
    """A second model, whose embedding of a view has the name of the view after `target.` in a term."""

    momentum: float = Field(
        0.996, ge=0, le=1, description="share of its weights that a step keeps; 1: they stay those of the start"
    )
