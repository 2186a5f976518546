"""What a sample brings to a training step: views, each from a column and through a transform, as typed settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.data.views.frames import FramesTransform
from training.data.views.image_transform import ImageTransform
from training.data.views.keys import KeyTransform
from training.data.views.text_transform import PUBLISHED_ONLY, STORED, TextTransform
from training.data.views.vectors import VectorTransform
from training.methods.base import Part

Share = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Cropped(Part):
    area: tuple[Share, Share] = Field(
        (0.9, 1.0), description="smallest and largest share of the image in a random crop, such as 0.5,1"
    )

    @model_validator(mode="after")
    def _ordered_area(self) -> Self:
        if self.area[0] > self.area[1]:
            raise ValueError(f"area: {self.area[0]} is more than {self.area[1]}: write the smaller share first")
        return self


class Crop(_Cropped):
    """How a visit shows an image."""

    augment: Literal["none", "moco", "clip_italian"] = Field(
        "none",
        description="change of colors and geometry after the crop: none, moco (arXiv 2003.04297) or clip_italian "
        "(arXiv 2108.08688)",
    )

    @property
    def transform(self) -> ImageTransform:
        """The transform of images with these settings."""
        return ImageTransform(self.area, None if self.augment == "none" else self.augment)


class ImageView(Crop):
    """A random crop of an image."""

    kind: Literal["image"] = "image"


class FramesView(_Cropped):
    """Frames of a video, which annotations have (jobs.annotate, kind `frames`); all are cropped alike."""

    kind: Literal["frames"] = "frames"
    count: int = Field(12, ge=1, description="number of frames; one alone is the middle frame")
    jitter: bool = Field(
        True, description="whether first and last frame are drawn in every epoch, or are those of the video"
    )

    @property
    def transform(self) -> FramesTransform:
        """The transform of frames with these settings."""
        return FramesTransform(self.count, self.jitter, self.area)


class Texts(Part):
    """Which text of an image a visit shows; it is drawn anew in every epoch."""

    sources: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default=dict(PUBLISHED_ONLY),
        min_length=1,
        description="weight of every text of a source: published, the text of the sample; matched, all matched "
        "texts of its image, whatever their keep probabilities and languages; or annotations (jobs.annotate): "
        "rewrites, paraphrases, english, subtitle, caption",
    )
    short_words: int = Field(
        0, ge=0, description="a drawn text of fewer words is replaced by the first text of the first source"
    )
    edits: tuple[Literal["swap", "delete"], ...] = Field(
        (), description="edits of which one is drawn: swap or delete one word in ten"
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not any(self.sources.values()):
            raise ValueError("sources: all weights are 0: give one source a weight")
        return self


class StoredTexts(Texts):
    """Which of the texts in the shards a visit shows; it is drawn anew in every epoch."""

    source_weights: dict[str, Weight] = Field(
        {},
        description="factor of the weight of a text by where it was found, such as {alt: 2, title: 0.5}; others have 1",
    )
    language_weights: dict[str, Weight] = Field(
        {}, description="factor of the weight of a text by its language, such as {sw: 4}; others have 1"
    )

    @model_validator(mode="after")
    def _stored_sources(self) -> Self:
        if unknown := sorted(set(self.sources) - STORED):
            known = ", ".join(sorted(STORED))
            raise ValueError(f"sources: {unknown[0]!r} is not in the shards or annotations: choose among {known}")
        for name in ("source_weights", "language_weights"):
            if getattr(self, name) and not self.sources.get("matched"):
                raise ValueError(f"{name}: no matched text of an image is drawn: give sources.matched a weight")
        return self

    @property
    def transform(self) -> TextTransform:
        """The transform of texts with these settings."""
        return TextTransform(self.sources, self.short_words, self.edits, self.source_weights, self.language_weights)


class TextView(StoredTexts):
    """A text, drawn from several sources in every epoch."""

    kind: Literal["text"] = "text"
    mask: float = Field(0.0, ge=0, lt=1, description="share of the tokens that are selected for masking")
    optional: bool = Field(
        False,
        description="whether samples may lack such a text, as the second one of omni_source",
    )

    @property
    def transform(self) -> TextTransform:
        """The transform of texts with these settings."""
        return replace(super().transform, mask=self.mask, optional=self.optional)


class VectorView(Part):
    """A stored vector, such as an embedding of a teacher."""

    kind: Literal["vector"] = "vector"
    column: str = Field(description="column of annotations with the vectors")
    size: int = Field(ge=1, description="numbers per vector")

    @property
    def transform(self) -> VectorTransform:
        """How the vectors are read."""
        return VectorTransform(self.column, self.size)


class KeyView(Part):
    """A key that tells which rows belong together, such as that of an image with several texts."""

    kind: Literal["key"] = "key"
    column: Literal["image_id", "text"] = Field("image_id", description="column of the shards with the keys")

    @property
    def transform(self) -> KeyTransform:
        """How the keys are read."""
        return KeyTransform(self.column)


View = Annotated[ImageView | FramesView | TextView | VectorView | KeyView, Field(discriminator="kind")]
