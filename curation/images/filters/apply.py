"""Apply image filters to the images of a task, a batch at a time.

Each filter is first asked about a synthetic image, so that one whose model does not load ends the stage before any
download. Then images wait until they make a batch or the task has no more. A filter that raises, or whose answer has
the wrong form, is asked again about each image alone; images for which that fails too are dropped (filter_failed).
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from curation.errors import UsageError
from curation.images.codec.pixels import Pixels
from curation.images.filters.base import DecodedImage, ImageFilter, Verdict

log = logging.getLogger(__name__)

FAILED: Final = "filter_failed"
BATCH_IMAGES: Final = 64
BATCH_BYTES: Final = 64 << 20  # of pixels


@dataclass
class Decision:
    """The result of all filters for an image: the reason if it is dropped, and the scores by filter."""

    reason: str | None = None
    scores: dict[str, float] = field(default_factory=dict)


class FilterRun:
    """Applies filters in their order; each sees only the images that those before it keep.

    Args:
        filters: the filters.
        texts: the text of every image, by id.
    """

    def __init__(self, filters: Sequence[ImageFilter], texts: Mapping[str, str]) -> None:
        self._filters, self._texts = filters, texts
        self._waiting: dict[int, DecodedImage] = {}
        self._bytes = 0
        self._warned: set[str] = set()  # filters whose failure was logged

    def add(self, position: int, image_id: str, pixels: Pixels) -> dict[int, Decision]:
        """Add an image; return the decisions about a batch of images, by position, if this one completes it."""
        self._waiting[position] = DecodedImage(image_id, self._texts[image_id], pixels.array())
        self._bytes += len(pixels.rgb)
        return self.finish() if len(self._waiting) >= BATCH_IMAGES or self._bytes >= BATCH_BYTES else {}

    def finish(self) -> dict[int, Decision]:
        """Apply the filters to the images that wait; return the decisions by position."""
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        decisions = {position: Decision() for position in waiting}
        for each in self._filters:
            kept = [position for position, decision in decisions.items() if decision.reason is None]
            verdicts = self._verdicts(each, [waiting[position] for position in kept])
            for position, verdict in zip(kept, verdicts, strict=True):
                if verdict.score is not None:
                    decisions[position].scores[each.name] = float(verdict.score)
                if not verdict.keep:
                    decisions[position].reason = verdict.reason or each.name
        return decisions

    def _verdicts(self, each: ImageFilter, images: Sequence[DecodedImage]) -> Sequence[Verdict]:
        """Return the verdicts of one filter, `FAILED` for images that it fails for."""
        if not images:
            return []
        try:
            return _ask(each, images)
        except Exception as error:  # whatever a filter does, it costs the images that it fails for
            if len(images) == 1:
                self._warn(each, error)
                return [Verdict(keep=False, reason=FAILED)]
        return [verdict for image in images for verdict in self._verdicts(each, [image])]

    def _warn(self, each: ImageFilter, error: Exception) -> None:
        """Log the first failure of a filter in this task."""
        if each.name not in self._warned:
            self._warned.add(each.name)
            log.warning("images.filters: %s failed for an image: %s", each.name, _describe(error))


def check_filters(filters: Sequence[ImageFilter], side: int) -> None:
    """Ask each filter about a synthetic image of `side` x `side` pixels, a gradient with the text `a photo`.

    Raises UsageError that names the first filter that fails.
    """
    ramp = (np.arange(side) * 255 // side).astype(np.uint8)
    pixels = np.empty((side, side, 3), np.uint8)
    pixels[:, :, 0], pixels[:, :, 1], pixels[:, :, 2] = ramp[:, None], ramp, 255 - ramp
    pixels.setflags(write=False)
    for each in filters:
        try:
            _ask(each, [DecodedImage("0" * 24, "a photo", pixels)])
        except Exception as error:  # whatever a filter does
            raise UsageError(
                f"images.filters: {each.name} fails for a synthetic image ({_describe(error)}): correct the filter or "
                f"its model, or remove it"
            ) from error


def _describe(error: Exception) -> str:
    """Return the type, the message and the origin of an exception in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return " ".join(f"{type(error).__name__}: {error} at {frame.filename}:{frame.lineno}".split())


def _ask(each: ImageFilter, images: Sequence[DecodedImage]) -> Sequence[Verdict]:
    """Return the verdicts of a filter. Raises ValueError if its answer has the wrong form, and what it raises."""
    verdicts = list(each(images))
    if len(verdicts) != len(images) or not all(_is_valid(each, verdict) for verdict in verdicts):
        raise ValueError("it did not return one valid verdict per image")
    return verdicts


def _is_valid(each: ImageFilter, verdict: Any) -> bool:
    """Return whether an answer is a verdict with a finite score, if any, and a reason of this filter, if needed."""
    if not isinstance(verdict, Verdict) or not (verdict.score is None or math.isfinite(verdict.score)):
        return False
    return verdict.reason == "" or is_reason_of([each.name], verdict.reason)


def is_reason_of(names: Iterable[str], reason: str) -> bool:
    """Return whether a reason is one that a filter of these names may give: the name, or the name, `_` and more."""
    return any(re.fullmatch(rf"{name}(_[a-z0-9_]+)?", reason) for name in names)
