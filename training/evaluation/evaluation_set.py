"""The data of an evaluation as typed settings: of `training.evaluate`, and of evaluations while a model is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from curation.cli.locations import Location
from curation.errors import UsageError
from training.evaluation.stored_rows import Columns

HELD_OUT = "held_out"  # the name of the held-out pairs of a run among its evaluation sets


class EvaluationSet(BaseModel):
    """Labeled images to classify, captioned images or videos to retrieve, or several of these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Location | None = Field(
        None,
        description="labeled images: labels.jsonl with one {image, label} per line, a folder of one folder per class, "
        "Parquet files or WebDataset tars",
    )
    classes: Location | None = Field(
        None,
        description="zero-shot classification of `images`: {languages: {language: {class: [prompt, …]}}}, "
        "or Babel-ImageNet's {language: [[class index, …], [class name, …]]}",
    )
    templates: Location | None = Field(
        None, description="templates of prompts, {language: [template with {} or {c}, …]}; default: the names alone"
    )
    captions: Location | None = Field(
        None,
        description="image-text retrieval: captions.jsonl of XM3600, a folder of XTD10, JSON with images and captions, "
        "Parquet files or WebDataset tars",
    )
    image_folder: Location | None = Field(
        None, description="folder of the images that `captions` names; default: `images` next to it"
    )
    equal_captions: bool = Field(
        True, description="a caption that several images have is correct for all of them; false: only for its own image"
    )
    videos: Location | None = Field(
        None, description="text-video retrieval: one {video: path, captions: {language: [caption, …]}} per line"
    )
    video_frames: int = Field(12, ge=1, description="frames of a video that the model sees, at equal distances")
    dual_softmax: bool = Field(
        False,
        description="also measure `videos` with dual softmax, which uses all texts of the set at once; such results "
        "are a task of their own",
    )
    probe_images: Location | None = Field(
        None, description="linear probe: labeled images to fit it to; it is measured on `images`"
    )
    probe_c: float = Field(0.316, gt=0, description="inverse of the L2 penalty of the linear probe")
    languages: Literal["all"] | list[str] = Field("all", description="languages to measure, such as en,de; or all")
    image_column: str = Field("image", description="Parquet column with the bytes of the image")
    label_column: str = Field("label", description="column with the label; also of the JSON of a WebDataset sample")
    text_column: str = Field("text", description="column with a caption, or a list of captions")
    language_column: str = Field("lang", description="column with the language of the captions")

    @property
    def columns(self) -> Columns:
        """The names of columns."""
        return Columns(self.image_column, self.label_column, self.text_column, self.language_column)

    def check_keys(self) -> None:
        """Raise UsageError if a key lacks another one that it needs."""
        if not (self.images or self.captions or self.videos):
            raise UsageError("images: nothing to measure: set images, captions or videos")
        if self.dual_softmax and not self.videos:
            raise UsageError("dual_softmax: videos is missing: set it to the captioned videos to measure")
        if self.images and not (self.classes or self.probe_images):
            raise UsageError("images: nothing to measure: set classes, for zero-shot classification, or probe_images")
        for key in ("classes", "probe_images"):
            if getattr(self, key) and not self.images:
                raise UsageError(f"{key}: images is missing: set it to the labeled images to measure")

    def chosen_languages(self, known: Iterable[str], key: str) -> list[str]:
        """Return the languages to measure. Raises UsageError if `key` has none of one of them."""
        known = list(known)
        if self.languages == "all":
            return known
        unknown = [language for language in self.languages if language not in known]
        if unknown:
            raise UsageError(f"languages: {key} has no {', '.join(unknown)}: choose from {', '.join(known)}")
        return self.languages
