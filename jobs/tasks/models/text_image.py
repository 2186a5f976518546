"""An image filter by the similarity of an image and its text, under a CLIP, MetaClip2 or SigLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from curation.images.filters.base import DecodedImage, Verdict
from jobs.tasks.models.clip import check_clip, load_clip
from jobs.tasks.models.pretrained import DECIMALS


@dataclass(frozen=True)
class TextImageScore:
    """Drops images that do not fit their texts.

    The score is the cosine of the embeddings of the image and of its text in `curated`, rounded to `DECIMALS`. Images
    with less than `min_score` are dropped; the default keeps all, so the filter only scores.

    Attributes:
        model: a folder as `save_pretrained` of transformers writes it: configuration, weights, tokenizer, image
            processor.
        min_score: from -1 to 1; the scores of different models are not comparable.
        device: a device of torch, such as `cuda`.
        name: another name, to score with several models.
    """

    model: str
    min_score: float = -1.0
    device: str = "cpu"
    name: str = "text_image_score"

    version: ClassVar[str] = "1"
    score_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    reads_texts: ClassVar[bool] = True
    thresholds: ClassVar[tuple[str, ...]] = ("min_score",)

    def __post_init__(self) -> None:
        """Check the parameters without loading the model. Raises UsageError or ValueError."""
        if not -1 <= self.min_score <= 1:
            raise ValueError("min_score must be from -1 to 1")
        check_clip(self.model, f"images.filters: {self.name}")

    def __call__(self, images: Sequence[DecodedImage]) -> list[Verdict]:
        """Return the verdicts. Raises what reading the model raises."""
        model = load_clip(self.model, self.device)
        texts = model.embed_texts([image.text for image in images])
        products = model.embed_images([image.pixels for image in images]) * texts
        return [self.verdict(round(score, DECIMALS)) for score in products.sum(1).tolist()]

    def verdict(self, score: float) -> Verdict:
        """Return the verdict of an image with this score."""
        return Verdict(score >= self.min_score, score)
