"""The rows of a batch in each view, written one by one to the memory of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from curation.errors import InputError
from curation.hashing import u64
from training.data.batch_memory import Field
from training.data.shard_reader import RowGroup
from training.data.tables.annotations import FRAMES
from training.data.tokenizer import Tokenizer
from training.data.views.frames import FramesTransform
from training.data.views.image_transform import ImageTransform
from training.data.views.keys import KeyTransform
from training.data.views.seeds import view_seed
from training.data.views.text_transform import TextTransform
from training.data.views.vectors import VectorTransform
from training.data.views.word_masking import WordMask

Transform = ImageTransform | FramesTransform | TextTransform | VectorTransform | KeyTransform
Seed = Callable[[str], int]  # of a purpose

LABELS = ".labels"  # after the name of a view with masked tokens
PRESENT = ".present"  # after the name of a view of texts that samples may lack


class ViewRows(Protocol):
    """One view of the samples of a batch."""

    def read(self, number: int, group: RowGroup, row: int, seed: Seed) -> None:
        """Read a sample as a row of the batch. Raises InputError if the sample cannot be shown."""

    def finish(self) -> None:
        """Write what is made of all rows together."""


class ImageRows:
    """Images, uint8 (count, side, side, 3)."""

    def __init__(self, transform: ImageTransform, images: Tensor) -> None:
        self._transform, self._pixels = transform, images.numpy()

    def read(self, number: int, group: RowGroup, row: int, seed: Seed) -> None:
        """Write the crop of an image. Raises InputError if it cannot be decoded."""
        self._transform.write(group.image(row), seed("crop"), self._pixels[number])

    def finish(self) -> None:
        """Do nothing: every image is written when it is read."""


class FrameRows:
    """Frames of videos, uint8 (count, frames, side, side, 3)."""

    def __init__(self, transform: FramesTransform, frames: Tensor) -> None:
        self._transform, self._pixels = transform, frames.numpy()

    def read(self, number: int, group: RowGroup, row: int, seed: Seed) -> None:
        """Write the frames of a video. Raises InputError if there are none, or one cannot be decoded."""
        self._transform.write(group.frames(row), seed("frames"), self._pixels[number])

    def finish(self) -> None:
        """Do nothing: every video is written when it is read."""


class TextRows:
    """Tokens, int32 (count, context length); with masked tokens also labels, int64 of this shape.

    If samples may lack a text, a bool column (count,) says which have one; the others have an empty text.

    Attributes:
        languages: the languages of the texts.
    """

    def __init__(
        self, transform: TextTransform, view: str, columns: Mapping[str, Tensor], tokenizer: Tokenizer
    ) -> None:
        self._transform, self._tokenizer = transform, tokenizer
        self._tokens, self._labels = columns[view], columns.get(view + LABELS)
        self._present, tokens = columns.get(view + PRESENT), columns[view]
        self._texts, self.languages, self._seeds = [""] * len(tokens), [""] * len(tokens), [0] * len(tokens)

    def read(self, number: int, group: RowGroup, row: int, seed: Seed) -> None:
        """Choose the text of a sample. Raises InputError if it has no text of the sources."""
        transform = self._transform
        written = group.written(row, transform.columns)
        language, is_present = group.language(row), True
        try:
            shown = transform.show(group.text(row), language, group.matched(row), seed("text"), written)
        except InputError:
            if self._present is None:
                raise
            shown, is_present = ("", language), False
        self._texts[number], self.languages[number] = shown
        if self._present is not None:
            self._present[number] = is_present
        if transform.mask:
            self._seeds[number] = seed("mask")

    def finish(self) -> None:
        """Write the tokens, and labels of masked ones."""
        self._tokens.copy_(self._tokenizer(self._texts))
        if self._labels is None:
            return
        mask_id = self._tokenizer.mask_id
        assert mask_id is not None, "a run with masked tokens starts with such a tokenizer"
        mask = WordMask(mask_id, self._tokenizer.vocab_size, self._tokenizer.special_ids, self._transform.mask)
        tokens, labels = self._tokens.numpy(), self._labels.numpy()
        for number, seed in enumerate(self._seeds):
            tokens[number], labels[number] = mask.apply(tokens[number], seed)


class VectorRows:
    """Stored vectors, float32 (count, size)."""

    def __init__(self, transform: VectorTransform, vectors: Tensor) -> None:
        self._transform, self._vectors = transform, vectors.numpy()

    def read(self, number: int, group: RowGroup, row: int, seed: Seed) -> None:  # noqa: ARG002 - of the protocol
        """Write the vector of a sample. Raises InputError if it is missing or has another size."""
        self._vectors[number] = group.vector(self._transform.column, row, self._transform.size)

    def finish(self) -> None:
        """Do nothing: every vector is written when it is read."""


class KeyRows:
    """Keys, int64 (count,)."""

    def __init__(self, transform: KeyTransform, keys: Tensor) -> None:
        self._transform, self._keys = transform, keys

    def read(self, number: int, group: RowGroup, row: int, seed: Seed) -> None:  # noqa: ARG002 - of the protocol
        """Write the key of a sample."""
        value = group.text(row) if self._transform.column == "text" else group.image_id(row)
        self._keys[number] = self._transform.key(value)

    def finish(self) -> None:
        """Do nothing: every key is written when it is read."""


def fields_of(transform: Transform, view: str, *, side: int, context: int) -> list[Field]:
    """Return the columns of a batch that a view needs.

    Args:
        transform: how the view shows a sample.
        view: its name.
        side: side of images in pixels.
        context: tokens of a text.
    """
    match transform:
        case ImageTransform():
            return [Field(view, (side, side, 3), torch.uint8)]
        case FramesTransform():
            return [Field(view, (transform.count, side, side, 3), torch.uint8)]
        case TextTransform():
            labels = [Field(view + LABELS, (context,), torch.int64)] if transform.mask else []
            present = [Field(view + PRESENT, (), torch.bool)] if transform.optional else []
            return [Field(view, (context,), torch.int32), *labels, *present]
        case VectorTransform():
            return [Field(view, (transform.size,), torch.float32)]
        case KeyTransform():
            return [Field(view, (), torch.int64)]


def make_view(transform: Transform, view: str, columns: Mapping[str, Tensor], tokenizer: Tokenizer) -> ViewRows:
    """Return what reads samples into the columns of a view."""
    match transform:
        case ImageTransform():
            return ImageRows(transform, columns[view])
        case FramesTransform():
            return FrameRows(transform, columns[view])
        case TextTransform():
            return TextRows(transform, view, columns, tokenizer)
        case VectorTransform():
            return VectorRows(transform, columns[view])
        case KeyTransform():
            return KeyRows(transform, columns[view])


def annotation_columns(transforms: Iterable[Transform]) -> tuple[str, ...]:
    """Return the columns of annotations that views read, each once."""
    columns: list[str] = []
    for transform in transforms:
        if isinstance(transform, TextTransform):
            columns += transform.columns
        elif isinstance(transform, FramesTransform):
            columns.append(FRAMES)
        elif isinstance(transform, VectorTransform):
            columns.append(transform.column)
    return tuple(dict.fromkeys(columns))


def seeds_of(seed: int, view: str, *, epoch: int, position: int) -> Seed:
    """Return the seeds of a view's random choices at a position, by purpose.

    The crop of the view `image` has the seed that it had before there were several views.
    """

    def of(purpose: str) -> int:
        if (purpose, view) == ("crop", "image"):
            return u64(seed, "crop", str(epoch), str(position))
        return view_seed(seed, purpose, view, epoch=epoch, position=position)

    return of
