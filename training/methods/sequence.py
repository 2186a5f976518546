"""Languages that are learned one after the other, as typed settings (CLL-CLIP, arXiv 2401.17186)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from curation.io.paths import is_s3
from training.methods.base import Part

# keys that have one value in a sequence, with the reason
FIXED = (
    ("languages", "all", "each run has the samples of one language"),
    ("draw", "published", "tokens are counted in published texts"),
    ("parallel", "ddp", "token embeddings are added"),
    ("seen_english_pairs", None, "each language has the same length: set steps or seen_pairs"),
)


class LanguageSequence(Part):
    """Languages that are learned one after the other, each with new tokens and a new optimizer."""

    languages: tuple[str, ...] = Field(
        (),
        description="languages to learn one after the other, such as en,it,de; each is a run of its own that starts "
        "from the model of the one before; default: all languages at once",
    )
    vocab_size: int = Field(
        10_000,
        ge=300,
        description="vocabulary size of the BPE that is trained on the texts of each language; tokens of it that the "
        "tokenizer lacks are added",
    )
    new_rows: Literal["matrix"] | Annotated[float, Field(gt=0)] = Field(
        "matrix",
        description="matrix: embeddings of new tokens are drawn with mean and standard deviation of all present ones "
        "(TEIR); a number: with mean 0 and this standard deviation",
    )

    @model_validator(mode="after")
    def _different_languages(self) -> Self:
        if repeated := [name for name in self.languages if self.languages.count(name) > 1]:
            raise ValueError(f"languages: {repeated[0]!r} is listed twice: list each language once")
        return self

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError, in one line, if other keys of a run do not fit a sequence; `values` are all keys."""
        if not self.languages:
            return
        for key, value, reason in FIXED:
            if values[key] != value:
                only = "is not set" if value is None else f"is {value}"
                raise ValueError(f"{key}: in a sequence of languages, it {only}, because {reason}")
        if not values["validation_share"]:
            raise ValueError("validation_share: is 0, but recall after each language needs held-out pairs: set a share")
        if values["output"] is not None and is_s3(values["output"]):
            raise ValueError("output: a sequence of languages needs a folder that all ranks see: choose one")
