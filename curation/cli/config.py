"""The sections of the configuration that the curation library defines; other packages add their own.

Every key is documented here, once: `--help` prints these descriptions.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from curation import __version__
from curation.cli.locations import Locations, PathKey
from curation.cli.plugins import IMPORT_PATH, PluginSection
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


class ImageFilterSection(PluginSection):
    """A filter of decoded images with its parameters; one without parameters may be given by its import path alone."""

    path_key: ClassVar[str] = "filter"

    filter: str = Field(
        pattern=IMPORT_PATH,
        description="import path of the class, such as curation.images.filters.uniformity:NearUniform",
    )


class CompactSection(Section):
    """A dataset of the shards of many batches, in larger files and one order."""

    dataset: str = Field("all", description="name of the dataset")
    batches: Literal["all"] | list[str] = Field(
        "all", description="batches whose shards it holds, such as 2024-05-31,2024-06-01; or all"
    )
    shard_bytes: int = Field(256 << 20, ge=1, description="bytes per file")


class ImagesSection(Section):
    """Fetching, verifying and storing images."""

    max_side: int = Field(
        256, ge=1, description="longest side in pixels, or the side that images.resize means; larger images are resized"
    )
    resize: Literal["keep_ratio", "border", "center_crop", "max_area", "none"] = Field(
        "keep_ratio",
        description="keep_ratio = the longest side is at most max_side; border = the same, on a white square; "
        "center_crop = the middle square, of the shortest side; max_area = at most max_side² pixels; none",
    )
    encode: Literal["jpeg", "webp", "original"] = Field(
        "jpeg",
        description="format of images that are resized or changed otherwise; original = the bytes as received, "
        "not resized, with all metadata",
    )
    quality: int = Field(95, ge=1, le=100, description="quality of JPEG or WebP")
    max_aspect: Annotated[float, Field(ge=1)] | None = Field(
        None, description="images whose longer side is more than this times the shorter are rejected (aspect)"
    )
    min_side: int = Field(1, ge=1, description="images with a shorter side are rejected")
    max_pixels: int = Field(64_000_000, ge=1, description="images with more pixels are rejected without decoding")
    formats: list[Literal["jpeg", "png", "webp", "gif", "avif", "heif", "bmp", "tiff"]] = Field(
        ["jpeg", "png", "webp", "gif", "avif"],
        min_length=1,
        description="image formats that are decoded; others are rejected (format_refused); heif (HEIC) needs the "
        "extra `heif`",
    )
    max_bytes: int = Field(20 << 20, ge=1, description="larger downloads are aborted and rejected")
    timeout_s: Annotated[float, Field(gt=0)] = Field(
        10.0, description="seconds per image, including robots.txt and retries"
    )
    retries: int = Field(
        2, ge=0, description="retries after the status 429, any status from 500 on, or a dropped connection"
    )
    connections: int = Field(256, ge=1, description="parallel requests per task")
    connections_per_host: int = Field(
        4,
        ge=1,
        description="parallel requests to the same host per task; all tasks that run at the same time (one per core of "
        "the cluster) together make up to that many times as many",
    )
    host_delay_s: float = Field(
        0.0,
        ge=0,
        description="seconds between the starts of two requests to the same host in a task; a host sees them that many "
        "times as often as tasks run at the same time",
    )
    task_timeout_s: Annotated[float, Field(gt=0)] = Field(
        3600.0,
        description="seconds per task; images that are not finished by then fail (task_timeout, not_processed), and "
        "the next run tries them again",
    )
    user_agent: str = Field(f"worldcurate/{__version__}", description="User-Agent header")
    robots: list[Directive] = Field(
        ["noai", "noimageai", "noindex", "noimageindex"],
        description="directives in X-Robots-Tag headers of image responses that are honored (image_noai …)",
    )
    tdm_reservation: bool = Field(
        True, description="honor the header tdm-reservation of image responses (tdm_reserved)"
    )
    robots_txt: bool = Field(False, description="honor the robots.txt of the hosts (robots_txt)")
    block_hosts: Locations = Field(
        [], description="files with hosts and URL prefixes that are not requested, one per line (blocked_host)"
    )
    allow_private_hosts: Words = Field(
        [], description="hosts, or host:port, with private addresses from which images may be fetched"
    )
    reuse_partitions: int = Field(
        8,
        ge=0,
        description="how many other partitions of `images` (of another recipe or batch, with the same settings and "
        "seed) are searched for pictures before they are requested: first those of the batch, then the newest",
    )
    filters: list[ImageFilterSection] = Field(
        [], description="filters of decoded images, applied in this order; default: none"
    )
    scores_in_shards: bool = Field(False, description="copy the scores of the filters to the shards")
    shard_bytes: int = Field(256 << 20, ge=1, description="bytes per shard file")
    assumed_image_bytes: int = Field(
        24 << 10, ge=1, description="assumed bytes per stored image; shards have shard_bytes / this rows"
    )


class DedupSection(Section):
    """Removal of duplicate images and of benchmark images from the shards; off by default."""

    exact: bool = Field(
        False, description="remove images with the same bytes as one of this batch or an earlier one (duplicate_exact)"
    )
    near_radius: Annotated[int, Field(ge=0, le=8)] | None = Field(
        None,
        description="remove images whose perceptual hash differs in at most this many of its 64 bits from that of one "
        "of this batch or an earlier one, such as 4 (duplicate_near)",
    )
    hash_lists: Locations = Field(
        [], description="files that jobs.make_hash_list wrote, whose images are removed (benchmark_image)"
    )
    list_radius: Annotated[int, Field(ge=0, le=8)] | None = Field(
        4, description="the same as near_radius, for the images of hash_lists; null = only the same bytes"
    )

    model: Annotated[str, PathKey()] | None = Field(
        None,
        description="folder of the CLIP-like model with which hash_lists were made; images are compared with theirs by "
        "embeddings too",
    )
    embedding_radius: Annotated[int, Field(ge=0, le=8)] = Field(
        0, description="bits in which the hash of an embedding may differ from that of a listed image"
    )

    @property
    def is_on(self) -> bool:
        """Return whether any images are removed."""
        return self.among_images or bool(self.hash_lists)

    @property
    def among_images(self) -> bool:
        """Return whether images are compared with one another."""
        return self.exact or self.near_radius is not None
