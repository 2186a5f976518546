"""The steps that the keys `ingest.clean` and `ingest.filters` ask for, in a fixed order: a new filter is added here.

The order: sample of images, URL block list, entities, mojibake, controls, length, file names, e-mail addresses, cards,
phone numbers, text block lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from curation.cli.ingest_config import IngestSection
from curation.errors import InputError, UsageError
from curation.filters import pii, text_quality
from curation.filters.base import Keep, Note, Rewrite, Step, sample_of_images
from curation.filters.blocklists import TextBlockList, UrlBlockList, entries
from curation.io.storage import Storage

URLS = "urls"


Identify = Callable[[Sequence[str]], Sequence[str]]  # texts to language keys


@dataclass(frozen=True)
class FilterPlan:
    """The steps of a config, with its block lists by content; plans with equal content are equal."""

    section: IngestSection = field(compare=False)
    storage: Storage = field(compare=False)
    identify: Identify | None = field(compare=False)
    keys: str  # the section as JSON
    seed: int
    lists: tuple[tuple[str, str, str], ...]  # (key, path, SHA-256)
    model: str | None  # the part of language identification that block lists depend on

    @property
    def digests(self) -> list[Any]:
        """The content of the lists and the language identification that they use, as fingerprint keys."""
        return [[key, digest] for key, _, digest in self.lists] + ([self.model] if self.model else [])

    def entries(self, path: str) -> list[str]:
        """Return the entries of a list."""
        return entries(self.storage.read_bytes(path))

    def steps(self) -> Sequence[Step]:
        """Return the steps, created once per process."""
        return _steps(self)


def plan_filters(
    section: IngestSection, storage: Storage, seed: int, identify: Identify | None = None, model: str | None = None
) -> FilterPlan:
    """Read the block lists that the config names. Raises UsageError for a missing file.

    `identify` and `model`, its description for fingerprints, are needed if `block_texts` is set.
    """
    filters = section.filters
    lists_by_key = [(URLS, path) for path in filters.block_urls] + sorted(filters.block_texts.items())
    try:
        lists = tuple((key, path, hashlib.sha256(storage.read_bytes(path)).hexdigest()) for key, path in lists_by_key)
    except InputError as error:
        raise UsageError(f"ingest.filters: {error}") from error
    return FilterPlan(section, storage, identify, section.model_dump_json(), seed, lists, model)


@lru_cache(maxsize=4)
def _steps(plan: FilterPlan) -> Sequence[Step]:
    return [*_of_images(plan), *_cleaning(plan), *_of_texts(plan)]


def _of_images(plan: FilterPlan) -> Iterator[Step]:
    section = plan.section
    if section.sample < 1 and section.sample_of == "images":
        yield sample_of_images(section.sample, plan.seed)
    if section.filters.block_urls:
        blocked = UrlBlockList(line for key, path, _ in plan.lists if key == URLS for line in plan.entries(path))
        yield Keep("blocked_url", lambda o: not (blocked(o.image_url) or blocked(o.page_url)))


def _cleaning(plan: FilterPlan) -> Iterator[Step]:
    section = plan.section.clean
    if section.entities:
        yield Rewrite("entities", text_quality.without_entities)
    if section.mojibake == "repair":
        yield Rewrite("mojibake_repaired", text_quality.repaired)
    elif section.mojibake == "flag":
        yield Note("mojibake", text_quality.is_mojibake)
    elif section.mojibake == "drop":
        yield Keep("mojibake", lambda o: not text_quality.is_mojibake(o.text))
    if section.controls:
        yield Rewrite("controls_removed", text_quality.without_controls)


def _of_texts(plan: FilterPlan) -> Iterator[Step]:
    filters = plan.section.filters
    if (least := filters.min_chars) is not None:
        yield Keep("too_short", lambda o: len(o.text) >= least)
    if (most := filters.max_chars) is not None:
        yield Keep("too_long", lambda o: len(o.text) <= most)
    if filters.file_names:
        yield Keep("file_name", lambda o: not text_quality.is_file_name(o.text))
    for kind, treatment in (("email", filters.emails), ("card", filters.cards), ("phone", filters.phones)):
        if treatment != "keep":
            yield _personal(kind, treatment)
    if plan.identify:
        phrases = {key: plan.entries(path) for key, path, _ in plan.lists if key != URLS}
        yield TextBlockList(phrases, plan.identify)


def _personal(kind: str, treatment: str) -> Step:
    if treatment == "mask":
        return Rewrite(f"{kind}_masked", partial(pii.masked, kind))
    return Keep(kind, lambda o: not pii.contains(kind, o.text))
