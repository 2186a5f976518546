"""The section of annotations: which kinds are made beside the shards, and by what."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from curation.cli.locations import Location
from curation.cli.plugins import IMPORT_PATH, PluginSection

Kind = Literal[
    "rewrites",
    "paraphrases",
    "hard_texts",
    "english",
    "teacher_image",
    "teacher_text",
    "regions",
    "teacher_regions",
    "clip_score",
    "propn_share",
    "frames",
]


class MakerSection(PluginSection):
    """A class that makes annotations, with its parameters; without an import path, the class of the kind is used."""

    path_key: ClassVar[str] = "maker"

    maker: str | None = Field(
        None,
        pattern=IMPORT_PATH,
        description="import path of the class (protocol: curation.annotations.base); default: that of the kind",
    )


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class AnnotateSection(BaseModel):
    """Annotations: columns beside the shards, which training methods read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: Annotated[list[Kind], BeforeValidator(_split)] = Field(
        [], description="kinds of annotations to make, such as rewrites,clip_score"
    )
    tokenizer: Location | None = Field(
        None, description="folder of the tokenizer whose tokens jobs.count_tokens counts, such as a checkpoint"
    )
    makers: dict[Kind, MakerSection] = Field({}, description="by kind: the class that makes it, with its parameters")
