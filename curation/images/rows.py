"""Make the rows of the table `images`: every requested image, fetched and verified, or failed with a reason."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from curation.images.codec.pixels import Pixels
from curation.images.decode import ImageLimits, verify
from curation.images.failures import NOT_PROCESSED, DecodeError, unexpected_reason
from curation.images.fetch import Fetched, Fetcher, ImageRow, Read
from curation.images.filters.apply import Decision, FilterRun
from curation.images.waiting import WaitingRows

NO_IMAGE = dict.fromkeys(("image", "width", "height", "image_sha256", "phash", "original_sha256"))

Row = dict[str, Any]


def fetch_and_verify(
    rows: Iterable[ImageRow],
    fetcher: Fetcher,
    limits: ImageLimits,
    read_ref: Read | None = None,
    filters: FilterRun | None = None,
) -> Iterator[Row]:
    """Yield a row of the table `images`, without its bucket, for every (image_id, image_url, image_ref), in order.

    Images are decoded and filtered in the caller's thread in the order in which they arrive, beside the requests of the
    fetcher's thread, so that a task uses one core and the memory of one decode. Finished rows wait for those before
    them as `WaitingRows`, and one batch of `filters` holds its pixels. Rows have the column
    `scores` only if there are filters.

    When the time of the task is over, a decode in the child process is ended; another decode or a batch of filters that
    has started is finished. All images that are not decoded and filtered then fail.
    """
    deadline = fetcher.deadline()
    ids: list[str] = []

    def counted() -> Iterator[ImageRow]:
        for row in rows:
            ids.append(row[0])
            yield row

    fetched = fetcher.fetch_many(counted(), read_ref, deadline)
    verified = ((position, *verified_row(ids[position], each, limits, deadline)) for position, each in fetched)
    position = 0
    with WaitingRows() as done:
        for arrived, row in _unfiltered(verified) if filters is None else _filtered(verified, filters, deadline):
            done.put(arrived, row)
            while position in done:
                yield done.take(position)
                position += 1


def _unfiltered(verified: Iterable[tuple[int, Row, Pixels | None]]) -> Iterator[tuple[int, Row]]:
    return ((position, row) for position, row, _ in verified)


def _filtered(
    verified: Iterable[tuple[int, Row, Pixels | None]], filters: FilterRun, deadline: float
) -> Iterator[tuple[int, Row]]:
    """Yield the position and the row of every image, as soon as the filters have decided about it."""
    waiting: dict[int, Row] = {}

    def decided(decisions: Mapping[int, Decision]) -> Iterator[tuple[int, Row]]:
        for position, decision in decisions.items():
            row = waiting.pop(position)
            if decision.reason is not None:
                row = failed_row(row["image_id"], decision.reason)
            yield position, {**row, "scores": decision.scores}

    for position, row, pixels in verified:
        if pixels is None:
            yield position, {**row, "scores": None}
        else:
            waiting[position] = row
            if time.monotonic() < deadline:
                yield from decided(filters.add(position, row["image_id"], pixels))
    if time.monotonic() < deadline:
        yield from decided(filters.finish())
    for position, row in waiting.items():
        yield position, {**failed_row(row["image_id"], NOT_PROCESSED), "scores": None}


def verified_row(
    image_id: str, fetched: Fetched, limits: ImageLimits, deadline: float = math.inf
) -> tuple[Row, Pixels | None]:
    """Return the row of one fetched image, `ok` with the stored image or `failed` with a reason, and its pixels.

    The reason is one of `curation.images.fetch.REASONS`, `http_<status>`, or one of `curation.images.decode.REASONS`.
    """
    reason = fetched.reason
    if fetched.data is not None:
        try:
            stored = vars(verify(fetched.data, limits, deadline)).copy()
            pixels: Pixels | None = stored.pop("pixels")
            original = sha256(fetched.data).hexdigest()
            row = {"image_id": image_id, "status": "ok", "reason": None, **stored, "original_sha256": original}
        except DecodeError as error:
            reason = error.reason
        except Exception as error:  # MemoryError in a decoder, for example: it costs this image alone
            reason = unexpected_reason(error)
        else:
            return row, pixels
    return failed_row(image_id, reason), None


def failed_row(image_id: str, reason: str | None) -> Row:
    """Return the row of an image that is not stored."""
    return {"image_id": image_id, "status": "failed", "reason": reason, **NO_IMAGE}
