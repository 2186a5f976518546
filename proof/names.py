"""Names and keywords of concepts by language, from Unicode CLDR."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from proof.artwork import concept_of_text
from proof.packages import members
from proof.settings import World

PICTURE = "1f5bc"  # the concept whose name stands for "picture" in generic texts


@dataclass(frozen=True)
class Name:
    """The name of a concept in a language, and its other keywords."""

    name: str
    keywords: tuple[str, ...]


def read_names(world: World) -> dict[str, dict[str, Name]]:
    """Return the names of concepts: language -> concept -> name; the languages in the order of the parameters."""
    locales = {size.names or code: code for code, size in world.languages.items()}
    names: dict[str, dict[str, Name]] = {code: {} for code in world.languages}
    for package, folder in (("cldr-derived", "annotationsDerived"), ("cldr", "annotations")):
        for path, content in members(world.packages[package], f"{folder}/"):
            parts = path.split("/")
            if len(parts) == 3 and parts[2] == "annotations.json" and parts[1] in locales:
                names[locales[parts[1]]].update(parse(json.loads(content)[folder].get("annotations", {})))
    return names


def parse(annotations: Mapping[str, Mapping[str, list[str]]]) -> dict[str, Name]:
    """Return the names of the concepts of a CLDR file; skin tones and entries without a name are left out."""
    names = {}
    for text, entry in annotations.items():
        concept = concept_of_text(text)
        if concept is None or not entry.get("tts"):
            continue
        name = unicodedata.normalize("NFC", entry["tts"][0])
        others = (unicodedata.normalize("NFC", keyword) for keyword in entry.get("default", ()))
        names[concept] = Name(name, tuple(sorted({keyword for keyword in others if keyword != name})))
    return names
