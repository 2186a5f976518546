"""Read the parameters of the proof (`world.yaml`) and its arms (`arms/NAME.yaml`)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curation.errors import UsageError

FOLDER = Path(__file__).parent
WORLD_FILE, ARMS_FOLDER = FOLDER / "world.yaml", FOLDER / "arms"

Measure = Literal["macro", "english"]
T = TypeVar("T", bound=BaseModel)


class Part(BaseModel):
    """A group of parameters; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Package(Part):
    """A package of the npm registry: its name, exact version, integrity hash and license."""

    package: str
    version: str
    integrity: str
    license: str


class Style(Part):
    """One set of artwork; `names_of` is the style whose code points it uses if its package has none."""

    artist: str
    names_of: str | None = None


class LanguageSize(Part):
    """A language: its share of the crawled web in percent, and its codes in wordfreq and CLDR if they differ."""

    share: float
    words: str | None = None
    names: str | None = None


class SiteRates(Part):
    """How pictures are composed and put on pages."""

    port: int
    side: int
    size: tuple[float, float]
    angle: float
    pictures_per_page: tuple[int, int]
    pages_per_file: int


class TextRates(Part):
    """Shares of the kinds of texts, and their lengths; texts of no other kind are sentences."""

    name: float
    keywords: float
    max_keywords: int
    max_words: int
    file_name: float
    generic: float
    wrong: float


class MetadataRates(Part):
    """Words per language, and limits of the lists as the jobs take them."""

    words: int
    limits: dict[str, dict[str, Any]]


class TokenizerSize(Part):
    """The tokenizer that all arms share: its vocabulary, the balance of languages, and the texts it is trained on."""

    vocab_size: int
    alpha: float
    texts: int


class EvaluationRates(Part):
    """Pictures per held-out artwork, their seed, and the languages of retrieval."""

    pictures: int
    seed: int
    retrieval: list[str]


class Scale(Part):
    """How much is run: pictures of the world, models with the pairs that a run sees, arms, and seeds."""

    pictures: int
    models: dict[str, int]
    arms: list[str]
    seeds: int


class Bootstrap(Part):
    """Resamples, the level of the intervals, and the least number of seeds for a verdict."""

    resamples: int
    level: float
    seed: int
    min_seeds: int


class Claim(Part):
    """A claim: the arm `better` exceeds the arm `worse` by more than `margin` in a measure."""

    name: str
    better: str
    worse: str
    measure: Measure
    margin: float = 0.0


class World(Part):
    """All parameters of the proof, as world.yaml explains them."""

    packages: dict[str, Package]
    styles: dict[str, Style]
    held_out: list[str]
    near_radius: int
    languages: dict[str, LanguageSize]
    site: SiteRates
    texts: TextRates
    metadata: MetadataRates
    training: dict[str, Any]
    tokenizer: TokenizerSize
    evaluation: EvaluationRates
    scales: dict[str, Scale]
    bootstrap: Bootstrap
    claims: list[Claim]

    @property
    def trained_styles(self) -> list[str]:
        """The styles whose artwork is on pages."""
        return [name for name, style in self.styles.items() if style.artist not in self.held_out]

    @property
    def held_out_styles(self) -> list[str]:
        """The styles whose artwork is only measured."""
        return [name for name, style in self.styles.items() if style.artist in self.held_out]


class Arm(Part):
    """One way to curate and train; everything else is equal for all arms.

    Attributes:
        title: one line for the report.
        metadata: by_language, a list per language; english_for_all, the English list for all texts; merged, one list.
        balance: the section `balance` of the jobs.
        training: keys of the trainer that differ from those of the other arms.
        length: `pairs`, the number of seen pairs of the scale; `english`, as many English pairs as that number.
    """

    title: str
    metadata: Literal["by_language", "english_for_all", "merged"]
    balance: dict[str, Any]
    training: dict[str, Any] = Field({})
    length: Literal["pairs", "english"] = "pairs"

    @property
    def recipe(self) -> str:
        """The name of its recipe in the lake, which arms with the same curation share."""
        digest = hashlib.sha256(json.dumps(self.balance, sort_keys=True).encode()).hexdigest()
        return f"{self.metadata}-{self.balance['policy']}-{digest[:8]}"


def read_world(path: Path = WORLD_FILE) -> World:
    """Read the parameters. Raises UsageError if one is missing, unknown or malformed."""
    return _read(World, path)


def read_arm(name: str, folder: Path = ARMS_FOLDER) -> Arm:
    """Read an arm. Raises UsageError if there is none of this name, or a key is wrong."""
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise UsageError(f"--arm: there is no {path}: choose one of {known}, or add this file")
    return _read(Arm, path)


def _read(model: type[T], path: Path) -> T:
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: is not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: {key}: {first['msg']}: see the comments of proof/world.yaml") from error
