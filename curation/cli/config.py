"""The sections of the configuration that the curation library defines; the jobs add theirs.

Every key is documented here, once: `--help` prints these descriptions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class Section(BaseModel):
    """A group of keys; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StorageSection(Section):
    """How s3:// locations are reached; credentials come from the environment."""

    endpoint_url: str | None = Field(None, description="S3 endpoint, also from AWS_ENDPOINT_URL")
    region: str | None = Field(None, description="S3 region, also from AWS_REGION")
    anonymous: bool = Field(False, description="read public buckets unsigned")


Treatment = Literal["keep", "mask", "drop"]


class CleanSection(Section):
    """Cleaning of texts beyond the default (NFC, white space to single spaces, trimmed); what it changes is noted."""

    entities: bool = Field(False, description="turn HTML entities (&amp;) into their characters")
    controls: bool = Field(False, description="remove control characters and invisible marks, but for ZWNJ and ZWJ")
    mojibake: Literal["keep", "flag", "repair", "drop"] = Field(
        "keep", description="UTF-8 read as another encoding (cafÃ©): kept, kept and counted, repaired, or dropped"
    )


class FilterSection(Section):
    """Which texts and images are dropped; what is dropped is counted under its reason."""

    min_chars: int | None = Field(None, ge=1, description="texts with fewer characters are dropped (too_short)")
    max_chars: int | None = Field(None, ge=1, description="texts with more characters are dropped (too_long)")
    file_names: bool = Field(False, description="drop texts that are no more than a file's name (file_name)")
    emails: Treatment = Field("keep", description="texts with an e-mail address: kept, masked ([email]) or dropped")
    phones: Treatment = Field("keep", description="texts with a phone number: the same")
    cards: Treatment = Field("keep", description="texts with a payment card's number: the same")
    block_urls: Words = Field(
        [], description="files of blocked hosts and URL prefixes, one a line, of images and pages (blocked_url)"
    )
    block_texts: dict[str, str] = Field(
        {}, description="file of blocked phrases, one a line, per language key, or `all` (blocked_text)"
    )


HOW_INPUTS_TRAVEL = ("inputs", "base_url", "storage", "connections", "retries", "backoff_s", "timeout_s")


class IngestSection(Section):
    """Where the pairs come from and how they are cleaned."""

    inputs: Words = Field(
        [],
        description="input files: paths, folders or globs, local or s3://; https:// URLs; lists of them "
        "(*.paths, *.paths.gz)",
    )
    base_url: str | None = Field(
        None,
        description="what relative paths of a list start from, such as https://data.commoncrawl.org or s3://commoncrawl",
    )
    format: Literal["wat", "parquet", "jsonl", "webdataset"] = Field("wat", description="format of the inputs")
    max_texts_per_image: int = Field(8, ge=1, description="texts kept per image (smallest hash)")
    url_column: str = Field("url", description="parquet, jsonl, webdataset: column with the image URL")
    text_columns: Words = Field(["text"], description="as url_column: columns with texts or lists of texts")
    ref_column: str | None = Field(None, description="parquet, jsonl: column with a path, or path#member, of the bytes")
    image_column: str | None = Field(
        None, description="parquet: column with the bytes of the images, at hand for later"
    )
    page_column: str | None = Field(None, description="parquet, jsonl: column with the page URL")
    bucket_bytes: int = Field(256 << 20, ge=1, description="input bytes that make one output bucket")
    robots: list[Literal["noai", "noimageai", "noindex", "noimageindex"]] = Field(
        ["noai", "noimageai"],
        description="directives of pages, in X-Robots-Tag headers or robots metas, that are honoured",
    )
    storage: StorageSection | None = Field(None, description="how s3:// inputs are reached, if otherwise than the lake")
    connections: int | None = Field(
        None, ge=1, description="input files read at once, by all workers; default one a core"
    )
    retries: int = Field(6, ge=0, description="further tries in a row, without a new byte, on an input's server")
    backoff_s: Annotated[float, Field(ge=0)] = Field(1.0, description="seconds before the first, then doubled")
    timeout_s: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds of silence after which one is begun")

    clean: CleanSection = CleanSection()
    filters: FilterSection = FilterSection()
    sample: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="share read, chosen by hash, for trial runs")
    sample_of: Literal["inputs", "images"] = Field("inputs", description="what the share is of (not_sampled)")
    seen: Literal["none", "earlier"] = Field("none", description="look images up in the pairs of all earlier batches")
    seen_action: Literal["drop", "keep", "merge"] = Field(
        "drop", description="what becomes of seen images: dropped, kept and counted, or joined by their earlier texts"
    )

    @model_validator(mode="after")
    def _image_column_is_of_parquet(self) -> Self:
        if self.image_column is not None and self.format != "parquet":
            raise ValueError(f"image_column is a column of format parquet, not {self.format}")
        return self

    def fingerprint_keys(self) -> dict[str, Any]:
        """Return what of the section changes the result, but for the inputs."""
        return self.model_dump(exclude=set(HOW_INPUTS_TRAVEL))

    def reader_keys(self) -> dict[str, Any]:
        """Return what of the section changes what one file gives."""
        merging = {"bucket_bytes", "seen", "seen_action"}
        return self.model_dump(
            exclude={*HOW_INPUTS_TRAVEL, *merging, *({"sample"} if self.sample_of == "inputs" else ())}
        )


class MatchSection(Section):
    """Language identification and matching."""

    rules: Literal["worldwide", "reference"] = Field("worldwide", description="matching rule set")
    lid_model: str = Field("default", description="fastText model file; default = the one `make models` fetched")
    lid_labels: str = Field(
        "default",
        description="file with the language key of the model's labels (`label<tab>key`); default = the language table",
    )
    min_lid_score: Share = Field(0.0, description="texts scored lower go to `other`")
    unit_bytes: int = Field(1 << 30, ge=1, description="bytes of pairs that one task matches, in batches of many tasks")
    script_languages: bool = Field(
        False, description="texts mostly in a script of one language (Thai, Khmer, Tamil, kana …) are in that language"
    )


class BalanceSection(Section):
    """The threshold per language and the draw; at most one of tail_share, t_en and p is set."""

    policy: Literal["tail_proportion", "fixed", "none"] = Field(
        "tail_proportion",
        description="t per language by its tail's share; one t for all; or keep everything matched",
    )
    tail_share: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="p, the tail's share (0.06)")
    t_en: int | None = Field(None, ge=1, description="threshold on English, from which p follows")
    p: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="p itself, when there is no English")
    counts_up_to: str | None = Field(
        None, description="batch up to which counts make the thresholds; default: the batch that is balanced"
    )
    selection: Literal["drawn", "all"] = Field("drawn", description="curate the drawn pairs, or all matched ones")
    bucket_bytes: int = Field(128 << 20, ge=1, description="bytes of matches that make one output bucket")

    @model_validator(mode="after")
    def _one_source_of_p(self) -> Self:
        given = [key for key in ("tail_share", "t_en", "p") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"set only one of {', '.join(given)}")
        return self


class ImagesSection(Section):
    """Fetching, verifying and storing images."""

    max_side: int = Field(256, ge=1, description="longest side in pixels; larger images are reduced")
    min_side: int = Field(1, ge=1, description="images with a shorter side are refused")
    max_pixels: int = Field(64_000_000, ge=1, description="images with more pixels are refused undecoded")
    max_bytes: int = Field(20 << 20, ge=1, description="larger downloads are cut off and refused")
    timeout_s: Annotated[float, Field(gt=0)] = Field(10.0, description="seconds for one image, retries included")
    retries: int = Field(2, ge=0, description="further tries on 429, 5xx and dropped connections")
    threads: int = Field(16, ge=1, description="downloads at once in one task")
    user_agent: str = Field("worldcurate/0.1", description="User-Agent header")
    allow_private_hosts: Words = Field(
        [], description="hosts, or host:port, with private addresses that may be fetched"
    )
    shard_bytes: int = Field(256 << 20, ge=1, description="bytes of one shard file")
    assumed_image_bytes: int = Field(24 << 10, ge=1, description="bytes an image is planned with")
