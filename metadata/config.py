"""The section `metadata` of the configuration: sources and limits of the lists of entries."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curation.cli.config import Section, Share, Words


class LimitsSection(Section):
    """Floors and caps of one language's entries; a key left out keeps the published value."""

    wordnet_cap: int | None = Field(None, ge=0, description="most WordNet lemmas")
    unigram_min_count: int | None = Field(None, ge=0, description="floor of a unigram's count (English: 100)")
    unigram_share: Share | None = Field(None, description="share of distinct unigrams kept (others: 0.10)")
    unigram_cap: int | None = Field(None, ge=0, description="most unigrams (251,465)")
    bigram_min_pmi: float | None = Field(None, description="floor of a bigram's PMI (30)")
    bigram_share: Share | None = Field(None, description="most re-scored bigrams, as a share of the unigrams (0.40)")
    bigram_cap: int | None = Field(None, ge=0, description="most bigrams (100,646)")
    title_min_views: int | None = Field(None, ge=0, description="floor of a title's page views (English: 70)")
    title_share: Share | None = Field(None, description="share of titles kept (others: 0.76)")
    title_cap: int | None = Field(None, ge=0, description="most titles (61,235)")


class MetadataSection(Section):
    """Inputs and limits of the per-language metadata."""

    version: str = Field("latest", description="metadata version that match uses; latest = the newest published")
    languages: Words = Field(["all"], description="Wikipedia codes to build, or all")
    wikipedia: Words = Field(
        [],
        description="pages-articles XML dumps or CirrusSearch JSON dumps, plain, .bz2 or .gz: `code=path-or-glob`, or "
        "a glob with {code} in it, which is looked up for every language; siteinfo-namespaces.json(.gz) beside them",
    )
    pageviews: Words = Field([], description="page-view files, hourly or daily layout: paths or globs")
    wordnet: Words = Field([], description="folders with OMW tab files or Princeton index.* files")
    wiktionary: bool = Field(False, description="read Wiktionary-made tab files (wikt/) too")
    bigram_score: Literal["rescored", "pmi"] = Field("rescored", description="how bigrams are ranked")
    limits: dict[str, LimitsSection] = Field({}, description="limits per language key, or `default` for all")
