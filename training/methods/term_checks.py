"""Check that the views, terms and targets of a method fit each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from training.methods.base import Targets
from training.methods.terms import (
    TARGET,
    MaskedWordsTerm,
    NeighborTerm,
    OmniSourceTerm,
    PullTerm,
    SiameseTerm,
    Term,
)
from training.methods.views import View


def check_terms(views: Mapping[str, View], terms: Sequence[Term], targets: Targets | None) -> None:
    """Raise ValueError, in one line, unless every term can read its views, and every view has a term."""
    read: set[str] = set()
    for term in terms:
        for name, kinds in term.reads().items():
            view = name.removeprefix(TARGET)
            _check_view(term.kind, view, kinds, views)
            read |= {name, view}
        _check_sides(term)
        _check_optional(term, views)
        if isinstance(term, MaskedWordsTerm) and not getattr(views[term.view], "mask", 0):
            raise ValueError(f"views.{term.view}.mask: is 0, but masked_words reads the view: set a share")
    if unread := [name for name in views if name not in read]:
        raise ValueError(f"views.{unread[0]}: no term reads it: remove the view or add a term")
    _check_targets({name for name in read if name.startswith(TARGET)}, targets)


def _check_view(term: str, name: str, kinds: frozenset[str], views: Mapping[str, View]) -> None:
    """Raise ValueError if a term cannot read the view with a name."""
    if name not in views:
        raise ValueError(f"terms: {term} reads the unknown view {name!r}: choose among {', '.join(views)}")
    if (kind := views[name].kind) not in kinds:
        needed = " or ".join(sorted(kinds))
        raise ValueError(f"terms: {term} cannot read the view {name!r} of kind {kind}: use one of kind {needed}")


def _check_optional(term: Term, views: Mapping[str, View]) -> None:
    """Raise ValueError if a term needs a text that samples may lack."""
    may_lack = {term.texts[1]} if isinstance(term, OmniSourceTerm) else set()
    for name in term.reads().keys() - may_lack:
        if getattr(views[name.removeprefix(TARGET)], "optional", False):
            raise ValueError(
                f"views.{name}.optional: {term.kind} needs a text of every sample: only the second text of omni_source "
                f"may be missing"
            )


def _check_sides(term: Term) -> None:
    """Raise ValueError if a term has a target where it needs an embedding of the trained model."""
    targets = [name for name in term.reads() if name.startswith(TARGET)]
    trained = getattr(term, "between", ())
    if isinstance(term, PullTerm):
        trained = trained[:1]
    never = SiameseTerm | NeighborTerm | MaskedWordsTerm | OmniSourceTerm
    if targets and (isinstance(term, never) or {*trained} <= {*targets}):
        raise ValueError(f"terms: {term.kind} trains nothing with {targets[0]!r}: name a view without '{TARGET}'")


def _check_targets(read: Iterable[str], targets: Targets | None) -> None:
    """Raise ValueError unless terms read targets exactly if there are any."""
    if targets is None and (names := sorted(read)):
        raise ValueError(f"terms: one reads {names[0]!r}, but there are no targets: set targets.momentum")
    if targets is not None and not list(read):
        raise ValueError(f"targets: no term reads one, such as '{TARGET}image': remove the key or add a term")
