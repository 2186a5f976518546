"""The sections of the configuration that the curation library defines; other packages add their own.

Every key is documented here, once: `--help` prints these descriptions.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from curation import __version__
from curation.cli.locations import Location, Locations, PathKey
from curation.robots import Directive

Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class Section(BaseModel):
    """A group of keys; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StorageSection(Section):
    """Access to s3:// locations; credentials come from the environment."""

    endpoint_url: str | None = Field(None, description="S3 endpoint; default: the variable AWS_ENDPOINT_URL")
    region: str | None = Field(None, description="S3 region; default: the variable AWS_REGION")
    anonymous: bool = Field(False, description="send unsigned requests, to read public buckets")


Treatment = Literal["keep", "mask", "drop"]


class CleanSection(Section):
    """Cleaning of texts in addition to the default (NFC, single spaces, trimmed); changes are counted."""

    entities: bool = Field(False, description="replace HTML entities (&amp;) with their characters")
    controls: bool = Field(False, description="remove control characters and invisible characters, except ZWNJ and ZWJ")
    mojibake: Literal["keep", "flag", "repair", "drop"] = Field(
        "keep", description="UTF-8 decoded in another encoding (cafÃ©): keep; flag = keep and count; repair; or drop"
    )


class FilterSection(Section):
    """Filters of texts and images; drops are counted by reason."""

    min_chars: int | None = Field(None, ge=1, description="drop texts with fewer characters (too_short)")
    max_chars: int | None = Field(None, ge=1, description="drop texts with more characters (too_long)")
    file_names: bool = Field(False, description="drop texts that are only a file name (file_name)")
    emails: Treatment = Field("keep", description="texts with an e-mail address: keep, mask ([email]) or drop them")
    phones: Treatment = Field("keep", description="texts with a phone number: keep, mask or drop them")
    cards: Treatment = Field("keep", description="texts with a payment card number: keep, mask or drop them")
    block_urls: Locations = Field(
        [], description="files with blocked hosts and URL prefixes of images and pages, one per line (blocked_url)"
    )
    block_texts: dict[str, Location] = Field(
        {}, description="file with blocked phrases, one per line, for each language key or `all` (blocked_text)"
    )


# Keys that do not change the pairs read from given files.
TRANSPORT_KEYS = ("inputs", "base_url", "storage", "connections", "retries", "backoff_s", "timeout_s")


class IngestSection(Section):
    """Inputs of image–text pairs, and how they are read, cleaned and filtered."""

    inputs: Locations = Field(
        [],
        description="input files: local or s3:// paths, folders or globs; https:// URLs; or lists of these "
        "(*.paths, *.paths.gz)",
    )
    base_url: Location | None = Field(
        None,
        description="base of relative paths in lists, such as https://data.commoncrawl.org or s3://commoncrawl",
    )
    format: Literal["wat", "parquet", "jsonl", "webdataset"] = Field("wat", description="input format")
    max_texts_per_image: int = Field(
        8, ge=1, description="maximum number of texts per image; those with the smallest hash are kept"
    )
    url_column: str = Field("url", description="parquet, jsonl, webdataset: column with the image URL")
    text_columns: Words = Field(
        ["text"], description="parquet, jsonl, webdataset: columns with texts or lists of texts"
    )
    ref_column: str | None = Field(
        None, description="parquet, jsonl: column with the path of the image file, or path#member"
    )
    ref_roots: Words | None = Field(
        None,
        description="folders or s3:// prefixes whose files ref_column may name; default: the folder of the input file "
        "(others: ref_refused)",
    )
    image_column: str | None = Field(
        None, description="parquet: column with the image bytes, which are then read from here instead of downloaded"
    )
    page_column: str | None = Field(None, description="parquet, jsonl: column with the page URL")
    bucket_bytes: int = Field(256 << 20, ge=1, description="input bytes per output bucket")
    robots: list[Directive] = Field(
        ["noai", "noimageai"],
        description="directives to honor: texts of pages that give one, in an X-Robots-Tag header or a robots meta "
        "tag, are dropped",
    )
    storage: StorageSection | None = Field(
        None, description="access to s3:// inputs, if it differs from that of the lake"
    )
    connections: int | None = Field(
        None, ge=1, description="input files read in parallel by all workers; default: one per core"
    )
    retries: int = Field(
        6, ge=0, description="an input on a server fails after this many retries in a row that bring no new byte"
    )
    backoff_s: Annotated[float, Field(ge=0)] = Field(
        1.0, description="seconds before the first retry; each later retry waits twice as long"
    )
    timeout_s: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds without data before a retry starts")

    clean: CleanSection = CleanSection()
    filters: FilterSection = FilterSection()
    sample: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the input to read, selected by hash, for trial runs"
    )
    sample_of: Literal["inputs", "images"] = Field(
        "inputs", description="unit of sampling: input files or images (not_sampled)"
    )
    seen: Literal["none", "earlier"] = Field(
        "none", description="earlier = look up images in the pairs of all earlier batches"
    )
    seen_action: Literal["drop", "keep", "merge"] = Field(
        "drop", description="images of earlier batches: drop; keep and count; or merge with their earlier texts"
    )

    @model_validator(mode="after")
    def _check_image_column(self) -> Self:
        if self.image_column is not None and self.format != "parquet":
            raise ValueError(f"image_column is a column of format parquet, not {self.format}")
        return self

    def fingerprint_keys(self) -> dict[str, Any]:
        """Return the keys that change the result, except for the inputs."""
        return self.model_dump(exclude={*TRANSPORT_KEYS, *self._unused_keys()})

    def reader_keys(self) -> dict[str, Any]:
        """Return the keys that change the occurrences read from one file."""
        merge_keys = {"bucket_bytes", "seen", "seen_action"}
        return self.model_dump(
            exclude={
                *TRANSPORT_KEYS,
                *merge_keys,
                *self._unused_keys(),
                *({"sample"} if self.sample_of == "inputs" else ()),
            }
        )

    def _unused_keys(self) -> set[str]:
        """Return newer keys that change nothing here; without them, earlier fingerprints stay valid."""
        return {"ref_roots"} if self.ref_column is None else set()


class MatchSection(Section):
    """Language identification and matching."""

    rules: Literal["worldwide", "reference"] = Field("worldwide", description="matching rule set")
    lid_model: Annotated[str, PathKey(words=("default",))] = Field(
        "default", description="fastText model file; default: the model that `make models` downloads"
    )
    lid_labels: Annotated[str, PathKey(words=("default",))] = Field(
        "default",
        description="file with the language key of each model label (`label<tab>key`); default: the language table",
    )
    min_lid_score: Share = Field(0.0, description="texts below this score are treated as `other`")
    unit_bytes: int = Field(1 << 30, ge=1, description="bytes of pairs per task, in batches of many tasks")
    script_languages: bool = Field(
        False,
        description="assign texts mostly in a script of one language (Thai, Khmer, Tamil, kana …) to that language",
    )


class BalanceSection(Section):
    """Thresholds and sampling; at most one of tail_share, t_en and p may be set.

    One that is set on the command line or in the environment replaces one that is set in the file.
    """

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("tail_share", "t_en", "p"),)

    policy: Literal["tail_proportion", "fixed", "none"] = Field(
        "tail_proportion",
        description="tail_proportion = t per language from the tail share; fixed = one t for all languages; "
        "none = keep all matched pairs",
    )
    tail_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="tail share p, such as 0.06; refused if the data has no English"
    )
    t_en: int | None = Field(None, ge=1, description="threshold t of English, from which p follows")
    p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="the same as tail_share, but accepted for data without English too"
    )
    counts_up_to: str | None = Field(
        None, description="last batch whose counts determine the thresholds; default: the batch that is balanced"
    )
    selection: Literal["drawn", "all"] = Field(
        "drawn", description="drawn = curate sampled pairs; all = curate all matched pairs"
    )
    bucket_bytes: int = Field(128 << 20, ge=1, description="bytes of matches per output bucket")

    @model_validator(mode="after")
    def _one_source_of_p(self) -> Self:
        given = [key for key in ("tail_share", "t_en", "p") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"set only one of {', '.join(given)}")
        return self


class ImagesSection(Section):
    """Fetching, verifying and storing images."""

    max_side: int = Field(256, ge=1, description="longest side in pixels; larger images are resized")
    min_side: int = Field(1, ge=1, description="images with a shorter side are rejected")
    max_pixels: int = Field(64_000_000, ge=1, description="images with more pixels are rejected without decoding")
    formats: list[Literal["jpeg", "png", "webp", "gif", "avif", "bmp", "tiff"]] = Field(
        ["jpeg", "png", "webp", "gif", "avif"],
        min_length=1,
        description="image formats that are decoded; others are rejected (format_refused)",
    )
    max_bytes: int = Field(20 << 20, ge=1, description="larger downloads are aborted and rejected")
    timeout_s: Annotated[float, Field(gt=0)] = Field(10.0, description="seconds per image, including retries")
    retries: int = Field(
        2, ge=0, description="retries after the status 429, any status from 500 on, or a dropped connection"
    )
    threads: int = Field(16, ge=1, description="parallel downloads per task")
    user_agent: str = Field(f"worldcurate/{__version__}", description="User-Agent header")
    robots: list[Directive] = Field(
        ["noai", "noimageai"],
        description="directives in X-Robots-Tag headers of image responses that are honored (image_noai …)",
    )
    allow_private_hosts: Words = Field(
        [], description="hosts, or host:port, with private addresses from which images may be fetched"
    )
    shard_bytes: int = Field(256 << 20, ge=1, description="bytes per shard file")
    assumed_image_bytes: int = Field(24 << 10, ge=1, description="assumed bytes per image, to plan the size of shards")
