"""What a training step compares: terms, of which the loss is a weighted sum, as typed settings.

A term names the views that it reads; `training.methods.term_checks` checks them against the views of a method.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from training.methods.base import Part

ROWS = frozenset({"image", "frames", "text", "vector"})  # kinds of views with one row of numbers per sample
KEYS, TEXTS, IMAGES, VIDEOS = (frozenset({kind}) for kind in ("key", "text", "image", "frames"))

TARGET = "target."  # before the name of a view: its embedding by the targets' model

KINDS = "info_nce: softmax over the batch; sigmoid: each pair alone (default: info_nce)"

Kinds = dict[str, frozenset[str]]
ScaleOfTerm = Literal["shared", "own"] | Annotated[float, Field(gt=0)]


class Term(Part):
    """A loss with a weight."""

    kind: str

    weight: float = Field(1.0, gt=0, description="factor of the term in the loss")

    @abstractmethod
    def reads(self) -> Kinds:
        """Return the names of the views that the term reads, each with the kinds it may have."""


class _Between(Term):
    between: tuple[str, str] = Field(("image", "text"), description="the two views that are compared")
    same: str | None = Field(
        None, description="view of keys; rows with equal keys are not negatives of each other (default: all are)"
    )
    scale: ScaleOfTerm = Field(
        "shared",
        description="factor of the cosine similarities: that of the model, one of this term's own, or a fixed number",
    )

    def reads(self) -> Kinds:
        """Return both views, and that of the keys."""
        keys = {} if self.same is None else {self.same: KEYS}
        return dict.fromkeys(self.between, ROWS) | keys


class InfoNCETerm(_Between):
    """The symmetric contrastive loss (CLIP, arXiv 2103.00020)."""

    kind: Literal["info_nce"] = Field("info_nce", description=KINDS)
    equal: Literal["soft", "drop"] = Field(
        "soft", description="rows with equal keys: soft makes them targets, too; drop leaves them out"
    )


class SigmoidTerm(_Between):
    """The pairwise sigmoid loss (SigLIP, arXiv 2303.15343); rows with equal keys are left out."""

    kind: Literal["sigmoid"] = Field("sigmoid", description=KINDS)
    bias: float = Field(-10.0, description="initial bias of the sigmoid loss, which is learned")
    negatives: tuple[str | None, str | None] = Field(
        (None, None), description="views with generated negatives of the first and of the second view; default: none"
    )

    def reads(self) -> Kinds:
        """Return both views, and those of keys and negatives."""
        return super().reads() | {name: ROWS for name in self.negatives if name is not None}


class PullTerm(Term):
    """The distance of a view's embeddings from stored vectors or from those of the targets' model."""

    kind: Literal["pull"] = "pull"
    between: tuple[str, str] = Field(description="the view that is trained, and its target")
    by: Literal["cosine", "mse"] = Field("cosine", description="cosine: angle; mse: mean squared difference")

    def reads(self) -> Kinds:
        """Return the view and its target."""
        return dict.fromkeys(self.between, ROWS)


class SiameseTerm(Term):
    """The siamese loss between two views of an image."""

    kind: Literal["siamese"] = "siamese"
    between: tuple[str, str] = Field(("image", "image_2"), description="the two views")
    hidden: int = Field(1024, ge=1, description="width of the projector and of the predictor's output")
    bottleneck: int = Field(512, ge=1, description="width of the predictor's middle layer")

    def reads(self) -> Kinds:
        """Return both views."""
        return dict.fromkeys(self.between, IMAGES)


class NeighborTerm(Term):
    """The loss from images to the nearest neighbors of their texts among earlier texts."""

    kind: Literal["neighbor"] = "neighbor"
    images: tuple[str, ...] = Field(("image",), min_length=1, description="views of the images")
    texts: tuple[str, ...] = Field(("text",), min_length=1, description="views of the texts")
    size: int = Field(65536, ge=1, description="number of earlier texts")
    scale: ScaleOfTerm = Field("shared", description="factor of the cosine similarities, as in info_nce")

    def reads(self) -> Kinds:
        """Return all views of images and texts."""
        return dict.fromkeys(self.images, IMAGES) | dict.fromkeys(self.texts, TEXTS)


class MaskedWordsTerm(Term):
    """The loss of masked words of a text view, which needs a share of masked tokens."""

    kind: Literal["masked_words"] = "masked_words"
    view: str = Field("text", description="the view with masked tokens")

    def reads(self) -> Kinds:
        """Return the masked view."""
        return {self.view: TEXTS}


class OmniSourceTerm(Term):
    """The losses between a video, its two texts and one of its frames (CLIP-ViP, arXiv 2209.06430)."""

    kind: Literal["omni_source"] = "omni_source"
    video: str = Field("frames", description="view of the video")
    texts: tuple[str, str] = Field(
        ("subtitle", "caption"), description="views of its texts; samples may lack the second one, if it is optional"
    )
    frame: str | None = Field(
        "middle", description="view of a frame, which is compared with the second text; none: no frame is"
    )
    scale: ScaleOfTerm = Field("shared", description="factor of the cosine similarities, as in info_nce")

    def reads(self) -> Kinds:
        """Return the views of video, texts and frame."""
        frame = {} if self.frame is None else {self.frame: VIDEOS | IMAGES}
        return {self.video: VIDEOS} | dict.fromkeys(self.texts, TEXTS) | frame


AnyTerm = Annotated[
    InfoNCETerm | SigmoidTerm | PullTerm | SiameseTerm | NeighborTerm | MaskedWordsTerm | OmniSourceTerm,
    Field(discriminator="kind"),
]


def _named(value: Any) -> Any:
    """Convert the name of a loss to its settings."""
    return {"kind": value} if isinstance(value, str) else value


Loss = Annotated[InfoNCETerm | SigmoidTerm, Field(discriminator="kind"), BeforeValidator(_named)]
