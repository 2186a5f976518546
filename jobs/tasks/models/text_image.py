"""An image filter by the similarity of an image and its text, under a CLIP, MetaClip2 or SigLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from curation.errors import UsageError
from curation.images.filters.base import DecodedImage, Verdict
from jobs.tasks.models.pretrained import DECIMALS, check_model, load_model, unit_embeddings


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

    def __post_init__(self) -> None:
        """Check the parameters without loading the model. Raises UsageError or ValueError."""
        if not -1 <= self.min_score <= 1:
            raise ValueError("min_score must be from -1 to 1")
        kind = check_model(self.model, f"images.filters: {self.name}")
        if not any(part in kind for part in ("clip", "siglip")):
            raise UsageError(
                f"images.filters: {self.name}: {self.model} has a model of type {kind!r}: give one like CLIP or SigLIP"
            )

    def __call__(self, images: Sequence[DecodedImage]) -> list[Verdict]:
        """Return the verdicts. Raises what reading the model raises."""
        scores = _load(self.model, self.device).cosines(images)
        return [Verdict(score >= self.min_score, score) for score in scores]


@dataclass(frozen=True)
class _Scorer:
    """A loaded model: `length` is the number of tokens of each text, `padding` as the tokenizer takes it."""

    model: Any
    processor: Any
    length: int
    device: str

    def cosines(self, images: Sequence[DecodedImage]) -> list[float]:
        import torch

        with torch.inference_mode():
            inputs = self.processor(
                text=[image.text for image in images],
                images=[image.pixels for image in images],
                padding="max_length",  # texts of other images in the batch change nothing
                truncation=True,
                max_length=self.length,
                input_data_format="channels_last",  # sides of 1 and 3 pixels are ambiguous
                return_tensors="pt",
            ).to(self.device)
            pixels = inputs.pop("pixel_values")
            texts = unit_embeddings(self.model.get_text_features(**inputs))
            products = unit_embeddings(self.model.get_image_features(pixel_values=pixels)) * texts
            return [round(score, DECIMALS) for score in products.sum(1).tolist()]


@lru_cache(maxsize=4)
def _load(folder: str, device: str) -> _Scorer:
    """Read a model, once per process. Raises what `load_model` and transformers raise."""
    from transformers import AutoProcessor

    model = load_model(folder, device)
    processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
    context = int(getattr(model.config, "text_config", model.config).max_position_embeddings)
    length = min(context, int(processor.tokenizer.model_max_length))
    return _Scorer(model, processor, length, device)
