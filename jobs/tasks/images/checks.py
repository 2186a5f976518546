"""Checks the settings of `fetch_images` before any image is requested, and by `nightly` before its first step."""

from __future__ import annotations

import re

from curation.errors import UsageError
from curation.images import decode, fetch
from curation.images.filters.apply import FAILED, is_reason_of
from curation.images.filters.load import filter_keys
from jobs.runtime.context import Context
from jobs.tasks.dedup.stage import check_hash_lists
from jobs.tasks.images.inputs import block_lists, check_formats


def check_settings(context: Context) -> None:
    """Check what the sections `images` and `dedup` name: filters and models, formats, lists of hosts and of hashes.

    Raises UsageError for one that cannot be used, and InputError for a hash list.
    """
    check_formats(context)
    block_lists(context)
    filters = filter_keys(context.config.images.filters)
    for name in context.retry_failed or ():
        is_known = name in fetch.REASONS | decode.REASONS | {FAILED} or re.fullmatch(r"http_\d{3}", name)
        if not (is_known or is_reason_of(filters, name)):
            raise UsageError(
                f"--retry_failed: no reason is called {name!r}: give those that a summary of fetch_images names"
            )
    check_hash_lists(context)
