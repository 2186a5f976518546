"""Make the rows of the table `images`: every requested image, fetched and verified, or failed with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from curation.images.decode import ImageLimits, verify
from curation.images.failures import DecodeError, unexpected_reason
from curation.images.fetch import Fetched, Fetcher, ImageRow, Read

NO_IMAGE = dict.fromkeys(("image", "width", "height", "image_sha256", "phash", "original_sha256"))


def fetch_and_verify(
    rows: Iterable[ImageRow], fetcher: Fetcher, limits: ImageLimits, read_ref: Read | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row of the table `images`, without its bucket, for every (image_id, image_url, image_ref), in order.

    Images are decoded in the caller's thread in the order in which they arrive, beside the requests of the fetcher's
    thread, so that a task uses one core and the memory of one decode. Finished rows wait for those before them; they
    occupy the bytes of the stored images.
    """
    ids: list[str] = []

    def counted() -> Iterator[ImageRow]:
        for row in rows:
            ids.append(row[0])
            yield row

    done: dict[int, dict[str, Any]] = {}
    position = 0
    for arrived, fetched in fetcher.fetch_many(counted(), read_ref):
        done[arrived] = image_row(ids[arrived], fetched, limits)
        while position in done:
            yield done.pop(position)
            position += 1


def image_row(image_id: str, fetched: Fetched, limits: ImageLimits) -> dict[str, Any]:
    """Return the row of one fetched image: `ok` with the stored image, or `failed` with a reason and nulls.

    The reason is one of `curation.images.fetch.REASONS`, `http_<status>`, or one of `curation.images.decode.REASONS`.
    """
    reason = fetched.reason
    if fetched.data is not None:
        try:
            return {
                "image_id": image_id,
                "status": "ok",
                "reason": None,
                **vars(verify(fetched.data, limits)),
                "original_sha256": sha256(fetched.data).hexdigest(),
            }
        except DecodeError as error:
            reason = error.reason
        except Exception as error:  # MemoryError in a decoder, for example: it costs this image alone
            reason = unexpected_reason(error)
    return {"image_id": image_id, "status": "failed", "reason": reason, **NO_IMAGE}
