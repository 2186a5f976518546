"""Identifies the languages of texts for block lists, as match does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from curation.errors import UsageError
from curation.filters.steps import FilterPlan, plan_filters
from curation.io.storage import Storage
from curation.lid.identifier import cached, model_sha256
from jobs.runtime.config import Config
from jobs.runtime.spec import lid_labels, lid_model
from metadata.languages import LanguageTable


def plan_filters_of(config: Config, storage: Storage) -> FilterPlan:
    """Plan the filters of a config. Raises UsageError for a missing file or an unknown language."""
    block_texts = config.ingest.filters.block_texts
    if not block_texts:
        return plan_filters(config.ingest, storage, config.seed)
    known = {*LanguageTable.load().label_to_lang.values(), "all"}
    for lang in block_texts:
        if lang not in known:
            raise UsageError(f"ingest.filters.block_texts: {lang!r} is not a language key or `all`")
    match = config.match
    model = f"{model_sha256(_model(config))} {match.lid_labels} {match.min_lid_score}"
    return plan_filters(config.ingest, storage, config.seed, partial(_identify, config), model)


def _model(config: Config) -> Path:
    try:
        return lid_model(config)
    except UsageError as error:
        raise UsageError(f"{error}: ingest.filters.block_texts needs it") from error


def _identify(config: Config, texts: Sequence[str]) -> Sequence[str]:
    """Return the language key of each text; the model is loaded once per process."""
    model = _model(config)
    labels = lid_labels(config, model, LanguageTable.load())
    return cached(model, labels, config.match.min_lid_score).identify(texts)[0]
