"""Load the maker of a kind of annotations, once per process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from curation.annotations.base import Maker
from curation.cli.annotate_config import AnnotateSection, MakerSection
from curation.cli.plugins import load_plugin, missing_parts, model_digest
from curation.errors import UsageError
from curation.lake.schemas import SCHEMAS

KEY: Final = "annotate.makers"
ATTRIBUTES: Final = ("version", "reads", "uses_seed")
SYNONYMS: Final = "jobs.tasks.annotate.synonyms:Synonyms"
DEFAULTS: Final = {
    "rewrites": SYNONYMS,
    "paraphrases": SYNONYMS,
    "hard_texts": "curation.annotations.swapped_words:SwappedWords",
    "english": "curation.annotations.english_text:EnglishText",
    "propn_share": "curation.annotations.capitalized:CapitalizedShare",
    "regions": "curation.annotations.grid:Grid",
    "teacher_image": "jobs.tasks.models.teacher:TeacherImage",
    "teacher_text": "jobs.tasks.models.teacher:TeacherText",
    "teacher_regions": "jobs.tasks.models.teacher:TeacherRegions",
    "frames": "jobs.tasks.annotate.video:VideoFrames",
    "clip_score": "jobs.tasks.models.teacher:ClipScore",
}


def load_maker(section: AnnotateSection, kind: str) -> Maker:
    """Return the maker of a kind; one that this process has loaded is used again.

    Raises UsageError if it cannot be imported, refuses its parameters or is not a maker.
    """
    chosen = _section(section, kind)
    return _load(_path(chosen, kind), json.dumps(chosen.parameters, sort_keys=True), f"{KEY}.{kind}")


def maker_keys(section: AnnotateSection, kind: str, seed: int) -> dict[str, Any]:
    """Return everything that determines what the maker of a kind makes, for fingerprints.

    Models count by their content, also those of makers that are parameters of this one.
    """
    chosen, maker = _section(section, kind), load_maker(section, kind)
    keys = {**_with_digests(chosen.model_dump(), f"{KEY}.{kind}"), "maker": _path(chosen, kind)}
    keys["version"] = maker.version
    if maker.uses_seed:
        keys["seed"] = seed
    return keys


def _with_digests(parameters: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return parameters with the SHA-256 of models in the place of their paths."""
    found: dict[str, Any] = {}
    for name, part in parameters.items():
        if name != "model":
            found[name] = _with_digests(part, key) if isinstance(part, dict) else part
        elif part:
            found["model_sha256"] = model_digest(str(part), key)
    return found


def _section(section: AnnotateSection, kind: str) -> MakerSection:
    return next((made for name, made in section.makers.items() if name == kind), MakerSection())


def _path(section: MakerSection, kind: str) -> str:
    return section.maker or DEFAULTS[kind]


@lru_cache(maxsize=16)
def _load(path: str, parameters: str, key: str) -> Maker:
    maker: Maker = load_plugin(path, json.loads(parameters), key)
    if missing := missing_parts(maker, ATTRIBUTES):
        problem = f"is not an annotation maker (it has no {missing})"
        raise UsageError(f"{key}: {path} {problem}: see curation.annotations.base")
    if unknown := sorted(set(maker.reads) - set(SCHEMAS["shards"].names)):
        raise UsageError(f"{key}: {path} reads {unknown[0]}, which shards do not have: see docs/tables.md")
    return maker
