"""The steps between reading and grouping that a config asks for, in their one fixed order.

sample of images, URL block list, entities, mojibake, controls, length, file names, e-mail addresses, cards, phone
numbers, text block lists
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from curation import models
from curation.errors import InputError, UsageError
from curation.filters import pii, text_quality
from curation.filters.base import Keep, Note, Rewrite, Step, sample_of_images
from curation.filters.blocklists import TextBlockList, UrlBlockList, entries
from curation.io.storage import Storage
from curation.lid.identifier import cached, labels_of, model_sha256
from jobs.runtime.config import Config
from metadata.labels import map_labels
from metadata.languages import LanguageTable

URLS = "urls"


@dataclass(frozen=True)
class Plan:
    """Which steps to take: the config, and its block lists by content. Plans of the same content are equal."""

    config: Config = field(compare=False)
    storage: Storage = field(compare=False)
    section: str  # the config's section ingest, as JSON
    seed: int
    lists: tuple[tuple[str, str, str], ...]  # (key, place, SHA-256)
    model: str | None  # what of the language identification block lists depend on

    @property
    def digests(self) -> list[Any]:
        """What the lists hold, and who says of which language a text is."""
        return [[key, digest] for key, _, digest in self.lists] + ([self.model] if self.model else [])

    def entries(self, path: str) -> list[str]:
        """Return the entries of a list."""
        return entries(self.storage.read_bytes(path))

    def steps(self) -> Sequence[Step]:
        """Return the steps; a process makes them once."""
        return _made(self)


def plan(config: Config, storage: Storage) -> Plan:
    """Look at the block lists that the config names. Raises UsageError for one that is missing or of no language."""
    filters = config.ingest.filters
    known = {*LanguageTable.load().label_to_lang.values(), "all"}
    for lang in filters.block_texts:
        if lang not in known:
            raise UsageError(f"ingest.filters.block_texts: {lang!r} is no language key (nor `all`)")
    places = [(URLS, path) for path in filters.block_urls] + sorted(filters.block_texts.items())
    try:
        lists = tuple((key, path, hashlib.sha256(storage.read_bytes(path)).hexdigest()) for key, path in places)
    except InputError as error:
        raise UsageError(f"ingest.filters: {error}") from error
    model = _model(config) if filters.block_texts else None
    digest = f"{model_sha256(model)} {config.match.lid_labels} {config.match.min_lid_score}" if model else None
    return Plan(config, storage, config.ingest.model_dump_json(), config.seed, lists, digest)


@lru_cache(maxsize=4)
def _made(wanted: Plan) -> Sequence[Step]:
    return [*_of_images(wanted), *_cleaning(wanted), *_of_texts(wanted)]


def _of_images(wanted: Plan) -> Iterator[Step]:
    section = wanted.config.ingest
    if section.sample < 1 and section.sample_of == "images":
        yield sample_of_images(section.sample, wanted.config.seed)
    if section.filters.block_urls:
        blocked = UrlBlockList(line for key, path, _ in wanted.lists if key == URLS for line in wanted.entries(path))
        yield Keep("blocked_url", lambda o: not (blocked(o.image_url) or blocked(o.page_url)))


def _cleaning(wanted: Plan) -> Iterator[Step]:
    section = wanted.config.ingest.clean
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


def _of_texts(wanted: Plan) -> Iterator[Step]:
    filters = wanted.config.ingest.filters
    if (least := filters.min_chars) is not None:
        yield Keep("too_short", lambda o: len(o.text) >= least)
    if (most := filters.max_chars) is not None:
        yield Keep("too_long", lambda o: len(o.text) <= most)
    if filters.file_names:
        yield Keep("file_name", lambda o: not text_quality.is_file_name(o.text))
    for kind, treatment in (("email", filters.emails), ("card", filters.cards), ("phone", filters.phones)):
        if treatment != "keep":
            yield _personal(kind, treatment)
    if filters.block_texts:
        phrases = {key: wanted.entries(path) for key, path, _ in wanted.lists if key != URLS}
        yield TextBlockList(phrases, _identify(wanted.config))


def _personal(kind: str, treatment: str) -> Step:
    if treatment == "mask":
        return Rewrite(f"{kind}_masked", partial(pii.masked, kind))
    return Keep(kind, lambda o: not pii.found(kind, o.text))


def _model(config: Config) -> Path:
    section = config.match
    model = models.default_model_path() if section.lid_model == "default" else Path(section.lid_model)
    if not model.is_file():
        raise UsageError(f"match.lid_model: no file {model}, which ingest.filters.block_texts needs")
    return model


def _identify(config: Config) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return what names the languages of texts, as match would; the model is loaded when a text asks for it."""
    section = config.match

    def identify(texts: Sequence[str]) -> Sequence[str]:
        model = _model(config)
        own = None if section.lid_labels == "default" else Path(section.lid_labels)
        labels = map_labels(labels_of(model), LanguageTable.load(), own)
        return cached(model, labels, section.min_lid_score).identify(texts)[0]

    return identify
