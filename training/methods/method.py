"""A training method: views, the terms that compare them, and what is trained, checked against each other."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from training.methods.base import Group, Part, Phase, Start
from training.methods.terms import AnyTerm, InfoNCETerm, MaskedWordsTerm
from training.methods.views import ImageView, TextView, View


class Rows(Part):
    """Factors of the rows of one matrix, such as token embeddings that several languages use."""

    parameter: str = Field(
        "text_model.embeddings.token_embedding.weight", description="name of the matrix, whose rows are tokens"
    )
    language: str = Field(description="the language that is learned, one of those of the table of token languages")
    on: Literal["gradient", "step"] = Field(
        "gradient", description="what is multiplied beside weight decay: the gradient, or the step of the optimizer"
    )


class Targets(Part):
    """A second model whose embeddings are targets."""

    momentum: float = Field(0.996, ge=0, le=1, description="share of it that a step keeps; 1: it is frozen")


class Method(Part):
    """Settings of a training method; the defaults are plain contrastive training."""

    name: str
    summary: str = Field(description="one line for the help")
    views: dict[str, View] = Field(default={"image": ImageView(), "text": TextView()}, min_length=1)
    terms: tuple[AnyTerm, ...] = Field((InfoNCETerm(),), min_length=1)
    group: Group = Group()
    phase: Phase = Phase()
    rows: Rows | None = None
    targets: Targets | None = None
    start: Start = Start()

    @model_validator(mode="after")
    def _terms_read_all_views(self) -> Self:
        read: set[str] = set()
        for term in self.terms:
            for name, kinds in term.reads().items():
                self._check_view(term.kind, name, kinds)
                read.add(name)
            if isinstance(term, MaskedWordsTerm) and not getattr(self.views[term.view], "mask", 0):
                raise ValueError(f"views.{term.view}.mask: is 0, but masked_words reads the view: set a share")
        if unread := [name for name in self.views if name not in read]:
            raise ValueError(f"views.{unread[0]}: no term reads it: remove the view or add a term")
        return self

    def _check_view(self, term: str, name: str, kinds: frozenset[str]) -> None:
        """Raise ValueError if a term cannot read the view with a name."""
        if name not in self.views:
            raise ValueError(f"terms: {term} reads the unknown view {name!r}: choose among {', '.join(self.views)}")
        if (kind := self.views[name].kind) not in kinds:
            needed = " or ".join(sorted(kinds))
            raise ValueError(f"terms: {term} cannot read the view {name!r} of kind {kind}: use one of kind {needed}")
