"""The configuration keys that a method fills in: views, terms, phases and targets of a run."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from curation.cli.sources import merge
from training.data.tables.selection import Interval
from training.data.views.rows import Transform
from training.methods.base import Bounds, Group, PartialPhase, Phase, Start, Targets, Video
from training.methods.catalog import find_method
from training.methods.sequence import LanguageSequence
from training.methods.term_checks import check_terms
from training.methods.terms import AnyTerm, InfoNCETerm, Loss, SiameseTerm
from training.methods.views import Crop, FramesView, ImageView, StoredTexts, TextView, View


class MethodKeys(BaseSettings):
    """The keys of a method. `crop`, `text`, `loss` and `phase` are short forms for runs with one of each."""

    method: str | None = Field(
        None, description="published method, listed below, whose settings apply unless other sources set them"
    )
    start: Start = Start()
    crop: Crop = Crop()
    text: StoredTexts = StoredTexts()
    views: dict[str, View] = Field(
        {},
        description="views of a sample by name; default: image with the settings of crop, and text with those of text",
    )
    video: Video = Video()
    select: dict[str, Bounds] = Field(
        {},
        description="columns of annotations by which samples are left out, such as {propn_share: {below: 0.8}}; those "
        "without a value of such a column are, too",
    )
    loss: Loss = Field(InfoNCETerm(), description="loss over the pairs of a batch: info_nce or sigmoid")
    terms: tuple[AnyTerm, ...] = Field((), description="terms whose weighted sum is the loss; default: loss")
    phase: Phase = Phase()
    phases: tuple[PartialPhase, ...] = Field(
        (), description="phases in order, each with an optimizer of its own; default: one, with the settings of phase"
    )
    targets: Targets | None = Field(
        None,
        description="a second model, a moving average or a frozen copy of the trained one, for terms; default: none",
    )
    sequence: LanguageSequence = LanguageSequence()
    group: Group = Group()
    lr: Annotated[float, Field(gt=0)] = Field(4e-4, description="peak learning rate")
    warmup_steps: int | None = Field(
        None, ge=0, description="steps of linear warm-up; default: 2,000, or a tenth of all steps if that is fewer"
    )
    weight_decay: float = Field(
        0.1, ge=0, description="weight decay of the optimizer for matrices; vectors and scalars are not decayed"
    )
    betas: tuple[float, float] = Field((0.9, 0.95), description="betas of the optimizer")
    max_grad_norm: float | None = Field(
        None, gt=0, description="longer gradients are scaled down to this norm; default: gradients are not clipped"
    )
    eps: float = Field(1e-6, gt=0, description="epsilon of AdamW")

    @model_validator(mode="before")
    @classmethod
    def _with_method(cls, values: Any) -> Any:
        """Add the settings of the method below those of all other sources."""
        if not isinstance(values, dict) or not (name := values.get("method")):
            return values
        return merge(cls, find_method(name).settings_for(values.get("preset", "tiny")), values)

    @field_validator("betas")
    @classmethod
    def _betas_below_one(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("both must be at least 0 and less than 1")
        return value

    @model_validator(mode="after")
    def _terms_fit_views(self) -> Self:
        for short, long in (("loss", "terms"), ("phase", "phases"), ("crop", "views"), ("text", "views")):
            if getattr(self, long) and getattr(self, short) != type(self).model_fields[short].default:
                raise ValueError(f"{short}: {long} has these settings: set one of both")
        check_terms(self.all_views, self.all_terms, self.targets)
        if self.targets is not None and self.has_video:
            raise ValueError("targets: have no proxies for frames: remove them or the views of kind frames")
        if self.group.accumulate > 1 and any(isinstance(term, SiameseTerm) for term in self.all_terms):
            raise ValueError("group.accumulate: siamese needs statistics of the whole batch: set it to 1")
        if any(phase.row_factors for phase in (self.phase, *self.phases)) and not self.sequence.languages:
            raise ValueError("sequence.languages: is empty, but row_factors count languages: list them in order")
        return self

    @property
    def all_views(self) -> dict[str, View]:
        """The views of a sample by name."""
        return self.views or {
            "image": ImageView(**self.crop.model_dump()),
            "text": TextView(**self.text.model_dump()),
        }

    @property
    def has_video(self) -> bool:
        """Whether a view shows frames of videos."""
        return self.frames_per_video > 0

    @property
    def frames_per_video(self) -> int:
        """The largest number of frames that a view shows of a video; 0 without such a view."""
        return max((view.count for view in self.all_views.values() if isinstance(view, FramesView)), default=0)

    @property
    def intervals(self) -> dict[str, Interval]:
        """The bounds of `select`."""
        return {column: Interval(bounds.at_least, bounds.below) for column, bounds in self.select.items()}

    @property
    def transforms(self) -> dict[str, Transform]:
        """How each view shows a sample, by name."""
        return {name: view.transform for name, view in self.all_views.items()}

    @property
    def all_terms(self) -> tuple[AnyTerm, ...]:
        """The terms of the loss."""
        return self.terms or (self.loss,)
