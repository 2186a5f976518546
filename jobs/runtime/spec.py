"""The identity of a matching and of a recipe: everything that determines their results, and the ids that follow."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation import models
from curation.balance import thresholds
from curation.errors import UsageError
from curation.language_keys import OTHER, matched_lang
from curation.lid import script_override
from curation.lid.identifier import LanguageIdentifier, cached, labels_of, model_sha256
from curation.matching.matcher import ALGORITHM
from curation.matching.store import Manifest, MatcherStore
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.runs import digest
from metadata.labels import map_labels
from metadata.languages import LanguageTable

DEFAULT_TAIL_SHARE = 0.06
SOURCES_OF_P = ("tail_share", "t_en", "p")


@dataclass(frozen=True)
class MatchSpec:
    """Everything that determines which entries a text matches, with the locations of its parts.

    `labels_digest` is empty if the labels lead to the languages that the language table's column `labels` gives.
    """

    manifest: Manifest
    rules: str
    model: str
    model_digest: str
    labels: dict[str, str]
    labels_digest: str
    table_digest: str
    min_lid_score: float
    script_languages: bool = False

    @property
    def keys(self) -> dict[str, Any]:
        """The keys that `match_id` hashes."""
        return {
            "metadata_version": self.manifest.version,
            "language_table": self.table_digest,
            "rules": self.rules,
            "lid_model": self.model_digest,
            "min_lid_score": self.min_lid_score,
            "algorithm": ALGORITHM,
            "unicode": unicodedata.unidata_version,  # text normalization depends on it
            **({"lid_labels": self.labels_digest} if self.labels_digest else {}),
            **({"script_languages": script_override.ALGORITHM} if self.script_languages else {}),
            **({"without_list": OTHER} if self.has_unlisted else {}),
        }

    @property
    def has_unlisted(self) -> bool:
        """Whether texts of some languages are texts of `other`, because these languages have no list."""
        langs = {*self.labels.values(), *(script_override.LANGUAGES.values() if self.script_languages else ())}
        return any(matched_lang(lang, self.manifest.entries) != lang for lang in langs)

    @property
    def match_id(self) -> str:
        """The id of this matching: its counts and matches are never mixed with those of another."""
        return digest(self.keys)[:16]

    def identifier(self) -> LanguageIdentifier:
        """Return the language identifier."""
        if self.script_languages:
            return script_override.ScriptIdentifier(self.model, self.labels, self.min_lid_score)
        return cached(self.model, self.labels, self.min_lid_score)


def open_match_spec(context: Context) -> MatchSpec:
    """Read the metadata version, model and labels that the config names.

    Raises UsageError if the metadata version or the language-ID model is missing, or if the model has labels that
    neither the language table nor the file `match.lid_labels` maps to a language.
    """
    config, section = context.config, context.config.match
    model, table = lid_model(config), LanguageTable.load()
    labels = lid_labels(config, model, table)
    LanguageIdentifier(model, labels)
    return MatchSpec(
        manifest=MatcherStore(context.storage, context.lake.root).read_manifest(config.metadata.version),
        rules=section.rules,
        model=str(model.resolve()),
        model_digest=model_sha256(model),
        labels=labels,
        labels_digest="" if labels.items() <= table.label_to_lang.items() else digest(labels),
        table_digest=table.digest,
        min_lid_score=section.min_lid_score,
        script_languages=section.script_languages,
    )


def lid_model(config: Config) -> Path:
    """Return the path of the language-ID model. Raises UsageError if the file does not exist."""
    name = config.match.lid_model
    model = models.default_model_path() if name == "default" else Path(name)
    if not model.is_file():
        raise UsageError(f"match.lid_model: no file {model}")
    return model


def lid_labels(config: Config, model: Path, table: LanguageTable) -> dict[str, str]:
    """Return the language key of each label of the model."""
    name = config.match.lid_labels
    return map_labels(labels_of(model), table, None if name == "default" else Path(name))


def recipe_keys(config: Config, match_id: str) -> dict[str, Any]:
    """Return the keys that a recipe's name is frozen to: everything that determines its thresholds and sample."""
    section = config.balance
    given = {key: value for key in SOURCES_OF_P if (value := getattr(section, key)) is not None}
    return {
        "match_id": match_id,
        "policy": section.policy,
        "selection": section.selection,
        "seed": config.seed,
        "algorithm": thresholds.ALGORITHM,
        **({"counts_up_to": section.counts_up_to} if section.counts_up_to else {}),
        **({} if section.policy == "none" else given or {"tail_share": DEFAULT_TAIL_SHARE}),
    }


def counts_up_to(context: Context) -> str | None:
    """Return the batch up to which a full rebalance counts: the config's, or the one its recipe was frozen with."""
    config, lake = context.config, context.lake
    if config.balance.counts_up_to or not lake.knows_recipe(config.recipe):
        return config.balance.counts_up_to
    frozen: str | None = lake.recipe(config.recipe).get("counts_up_to")
    return frozen
