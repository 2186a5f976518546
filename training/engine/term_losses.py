"""The loss of each kind of term, from the features of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.functional import normalize

from training.losses.contrastive import EqualRows, contrastive_loss
from training.losses.gather import gather_rows
from training.losses.masked_words import masked_word_loss
from training.losses.neighbors import neighbor_loss
from training.losses.omni_source import VideoRows, omni_source_loss
from training.losses.pull import cosine_pull, mse_pull
from training.losses.siamese import siamese_loss
from training.losses.sigmoid import sigmoid_loss
from training.methods.terms import (
    AnyTerm,
    InfoNCETerm,
    MaskedWordsTerm,
    NeighborTerm,
    OmniSourceTerm,
    PullTerm,
    ScaleOfTerm,
    SiameseTerm,
    SigmoidTerm,
)
from training.models.features import Features


class Compared(NamedTuple):
    """What the terms compare.

    Attributes:
        features: those of the trained model.
        stored: the rows of a batch that no encoder reads, such as vectors, keys and labels, and the embeddings of the
            targets' model.
        banks: earlier texts by the name of a term.
        group: the ranks that are compared with each other; None: all.
    """

    features: Features
    stored: Mapping[str, Tensor]
    banks: Mapping[str, nn.Module]
    group: ProcessGroup | None = None

    def unit(self, name: str) -> Tensor:
        """Return unit rows of a view, of its target, or of stored vectors."""
        rows = self.features.rows.get(name)
        return normalize(self.stored[name], dim=-1) if rows is None else rows

    def raw(self, name: str) -> Tensor:
        """Return the rows of a view, of its target, or of stored vectors, of any length."""
        rows = self.features.rows.get(f"{name}.raw")
        return self.stored[name] if rows is None else rows

    def keys(self, view: str | None) -> Tensor | None:
        """Return the keys of the rows; None if there is no such view."""
        return None if view is None else self.stored[view]

    def scale(self, term: str, scale: ScaleOfTerm) -> Tensor:
        """Return the factor of the cosine similarities of a term."""
        if isinstance(scale, str):
            return self.features.scalars["scale" if scale == "shared" else f"scale.{term}"]
        return torch.tensor(scale, device=self.features.scalars["scale"].device)


def term_loss(name: str, term: AnyTerm, compared: Compared) -> Tensor:
    """Return this rank's part of the loss of a term, without its weight; the mean over ranks is that of all rows."""
    return LOSSES[type(term)](name, term, compared)


def _info_nce(name: str, term: InfoNCETerm, compared: Compared) -> Tensor:
    keys = compared.keys(term.same)
    first, second = map(compared.unit, term.between)
    return contrastive_loss(
        first,
        second,
        compared.scale(name, term.scale),
        compared.group,
        equal=None if keys is None else EqualRows(keys, term.equal),
    )


def _sigmoid(name: str, term: SigmoidTerm, compared: Compared) -> Tensor:
    first, second = map(compared.unit, term.between)
    of_first, of_second = (None if view is None else compared.unit(view) for view in term.negatives)
    return sigmoid_loss(
        first,
        second,
        compared.scale(name, term.scale),
        compared.features.scalars["bias" if term.scale == "shared" else f"bias.{name}"],
        compared.group,
        keys=compared.keys(term.same),
        negative_images=of_first,
        negative_texts=of_second,
    )


def _pull(_: str, term: PullTerm, compared: Compared) -> Tensor:
    loss = cosine_pull if term.by == "cosine" else mse_pull
    rows, teacher = map(compared.raw, term.between)
    return loss(rows, teacher, group=compared.group)


def _siamese(_: str, term: SiameseTerm, compared: Compared) -> Tensor:
    rows = compared.features.rows
    first, second = term.between
    return siamese_loss(
        (rows[f"{first}.predicted"], rows[f"{second}.predicted"]),
        (rows[f"{first}.projected"], rows[f"{second}.projected"]),
    )


def _neighbor(name: str, term: NeighborTerm, compared: Compared) -> Tensor:
    """Look up the neighbors of all texts, then store these texts, the last view first, as published.

    The texts of all ranks of the run are stored in the order of their positions, so that every rank has the same bank,
    whatever their number.
    """
    bank: Any = compared.banks[name]
    texts = [compared.unit(view) for view in term.texts]
    neighbors = [bank.nearest(rows) for rows in texts]
    for rows in reversed(texts):
        by_rank = gather_rows(rows.detach()).view(-1, *rows.shape)
        bank.add(by_rank.transpose(0, 1).flatten(0, 1))  # position p is on rank p mod ranks
    images = [compared.unit(view) for view in term.images]
    return neighbor_loss(images, neighbors, compared.scale(name, term.scale), compared.group)


def _masked_words(_: str, term: MaskedWordsTerm, compared: Compared) -> Tensor:
    losses = compared.features.rows[f"{term.view}.words"]
    return masked_word_loss(losses, compared.stored[f"{term.view}.labels"].to(losses.device), compared.group)


def _omni_source(name: str, term: OmniSourceTerm, compared: Compared) -> Tensor:
    subtitle, caption = term.texts
    rows = VideoRows(
        compared.unit(term.video),
        compared.unit(subtitle),
        compared.unit(caption),
        None if term.frame is None else compared.unit(term.frame),
        compared.stored.get(f"{caption}.present"),
    )
    return omni_source_loss(rows, compared.scale(name, term.scale), compared.group)


LOSSES: dict[type[AnyTerm], Callable[[str, Any, Compared], Tensor]] = {
    InfoNCETerm: _info_nce,
    SigmoidTerm: _sigmoid,
    PullTerm: _pull,
    SiameseTerm: _siamese,
    NeighborTerm: _neighbor,
    MaskedWordsTerm: _masked_words,
    OmniSourceTerm: _omni_source,
}
