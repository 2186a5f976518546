"""Configuration: the section `metadata` of the jobs, and the keys of the commands that fetch sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from curation.cli.config import Section, Share, Words
from curation.cli.locations import Location, Locations, PathKey
from curation.cli.settings import load_config


class LimitsSection(Section):
    """Floors and caps of one language's entries; omitted keys keep the published values."""

    wordnet_cap: int | None = Field(None, ge=0, description="maximum number of WordNet lemmas")
    unigram_min_count: int | None = Field(None, ge=0, description="minimum count of a unigram (English: 100)")
    unigram_share: Share | None = Field(None, description="share of distinct unigrams to keep (other languages: 0.10)")
    unigram_cap: int | None = Field(None, ge=0, description="maximum number of unigrams (251,465)")
    bigram_min_pmi: float | None = Field(None, description="minimum PMI of a bigram (30)")
    bigram_share: Share | None = Field(
        None, description="maximum number of re-scored bigrams, as a share of the unigrams (0.40)"
    )
    bigram_cap: int | None = Field(None, ge=0, description="maximum number of bigrams (100,646)")
    title_min_views: int | None = Field(None, ge=0, description="minimum page views of a title (English: 70)")
    title_share: Share | None = Field(None, description="share of titles to keep (other languages: 0.76)")
    title_cap: int | None = Field(None, ge=0, description="maximum number of titles (61,235)")


class MetadataSection(Section):
    """Sources and limits of the per-language metadata."""

    version: str = Field("latest", description="metadata version that match uses; latest = the one published last")
    languages: Words = Field(["all"], description="Wikipedias to build, by code, or all")
    wikipedia: Annotated[Locations, PathKey(labeled=True)] = Field(
        [],
        description="pages-articles XML dumps or CirrusSearch JSON dumps, plain, .bz2 or .gz: `code=path-or-glob`, or "
        "a glob with {code}, which is expanded for every language; siteinfo-namespaces.json(.gz) may be next to them",
    )
    pageviews: Locations = Field([], description="page-view files in the hourly or daily layout: paths or globs")
    wordnet: Locations = Field([], description="folders with OMW tab files or Princeton index.* files")
    wiktionary: bool = Field(False, description="also read tab files made from Wiktionary (wikt/)")
    bigram_score: Literal["rescored", "pmi"] = Field("rescored", description="how bigrams are ranked")
    limits: dict[str, LimitsSection] = Field({}, description="limits per language key; `default` applies to all")


class FetchConfig(BaseSettings):
    """Keys that the fetching commands share; each command adds its own keys and an environment prefix."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True)

    out: Location | None = Field(None, description="output folder")
    user_agent: str | None = Field(None, description="User-Agent header: who you are and how to reach you")
    retries: int = Field(
        5, ge=0, description="a download fails after this many retries in a row that bring no new byte"
    )
    backoff_s: Annotated[float, Field(gt=0)] = Field(
        1.0, description="seconds before the first retry; each later retry waits twice as long"
    )
    timeout_s: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds to wait for data")

    @classmethod
    def load(cls, argv: Sequence[str], *, prog: str, description: str | None, required: str) -> Self:
        """Read the configuration of a command; `required`, `out` and `user_agent` must be set."""
        return load_config(
            cls, argv, prog=prog, description=description or "", required=(required, "out", "user_agent")
        )
