"""The section `ingest` of the configuration: the sources of a batch, and how they are read, cleaned and filtered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from curation.cli.config import Section, StorageSection, Words
from curation.cli.locations import Location, Locations
from curation.io.paths import absolute
from curation.robots import Directive

Treatment = Literal["keep", "mask", "drop"]


def _absolute(paths: list[str]) -> list[str]:
    """Return local paths as they are in any working directory; those that name it already remain as written."""
    return [path if path.startswith("/") else absolute(path) for path in paths]


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


class SourceSection(Section):
    """Inputs of one format, and where their images and texts are."""

    inputs: Locations = Field(
        [],
        description="input files: local or s3:// paths, folders or globs; https:// URLs; or lists of these "
        "(*.paths, *.paths.gz); `{batch}` in them is replaced by the batch",
    )
    base_url: Location | None = Field(
        None,
        description="base of relative paths in lists, such as https://data.commoncrawl.org or s3://commoncrawl",
    )
    format: Literal["wat", "parquet", "jsonl", "webdataset"] = Field("wat", description="input format")
    url_column: str = Field("url", description="parquet, jsonl, webdataset: column with the image URL")
    text_columns: Words = Field(
        ["text"], description="parquet, jsonl, webdataset: columns with texts or lists of texts"
    )
    ref_column: str | None = Field(
        None,
        description="parquet, jsonl: column with the path of the image file, or path#member; "
        "relative paths are relative to the folder of the input",
    )
    ref_roots: Annotated[Locations, AfterValidator(_absolute)] | None = Field(
        None,
        description="folders or s3:// prefixes whose files ref_column may name; default: the folder of the input file "
        "(others: ref_refused)",
    )
    image_column: str | None = Field(
        None, description="parquet: column with the image bytes, which are then read from here instead of downloaded"
    )
    page_column: str | None = Field(None, description="parquet, jsonl: column with the page URL")
    storage: StorageSection | None = Field(
        None, description="access to s3:// inputs, if it differs from that of the lake"
    )

    @model_validator(mode="after")
    def _check_image_column(self) -> Self:
        if self.image_column is not None and self.format != "parquet":
            raise ValueError(f"image_column is a column of format parquet, not {self.format}")
        return self

    def _unused_keys(self) -> set[str]:
        """Return newer keys that change nothing here; without them, earlier fingerprints stay valid."""
        return {"ref_roots"} if self.ref_column is None else set()


# Keys that do not change the pairs read from given files.
TRANSPORT_KEYS = ("inputs", "base_url", "storage", "connections", "retries", "backoff_s", "timeout_s")


class IngestSection(SourceSection):
    """Inputs of image–text pairs, and how they are read, cleaned and filtered."""

    sources: list[SourceSection] = Field(
        [],
        description="more inputs of the batch, such as those of another format: a list of sections with the keys "
        "`inputs` … `storage`; those that one does not set are as in ingest",
    )
    max_texts_per_image: int = Field(
        8, ge=1, description="maximum number of texts per image; those with the smallest hash are kept"
    )
    bucket_bytes: int = Field(256 << 20, ge=1, description="input bytes per output bucket")
    robots: list[Directive] = Field(
        ["noai", "noimageai"],
        description="directives to honor: texts of pages that give one, in an X-Robots-Tag header or a robots meta "
        "tag, are dropped",
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

    @model_validator(mode="before")
    @classmethod
    def _complete_sources(cls, values: Any) -> Any:
        """Give every source the keys of the section that it does not set, except for the inputs."""
        if not isinstance(values, Mapping) or not isinstance(values.get("sources"), list | tuple):
            return values
        own = {key: values[key] for key in SourceSection.model_fields if key in values and key != "inputs"}
        return {**values, "sources": [_complete(source, own) for source in values["sources"]]}

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        for number, source in enumerate(self.sources):
            if not source.inputs:
                raise ValueError(f"sources.{number} has no inputs: add its inputs, or remove it")
        return self

    def all_sources(self) -> list[IngestSection]:
        """Return a section for the section's own inputs, even if it has none, and one for each of `sources`."""
        parts: list[SourceSection] = [self, *self.sources]
        own_keys = SourceSection.model_fields
        return [
            self.model_copy(update={**{key: getattr(part, key) for key in own_keys}, "sources": []}) for part in parts
        ]

    def fingerprint_keys(self) -> dict[str, Any]:
        """Return the keys that change the result, except for the inputs."""
        keys = self.model_dump(exclude={*TRANSPORT_KEYS, "sources", *self._unused_keys()})
        if self.sources:
            keys["sources"] = [
                source.model_dump(exclude={*TRANSPORT_KEYS, *source._unused_keys()}) for source in self.sources
            ]
        return keys

    def reader_keys(self) -> dict[str, Any]:
        """Return the keys that change the occurrences read from one file of the section's own inputs."""
        merge_keys = {"sources", "bucket_bytes", "seen", "seen_action"}
        return self.model_dump(
            exclude={
                *TRANSPORT_KEYS,
                *merge_keys,
                *self._unused_keys(),
                *({"sample"} if self.sample_of == "inputs" else ()),
            }
        )


def _complete(source: Any, own: Mapping[str, Any]) -> Any:
    """Return a source before validation with the keys of the section, of which image_column is for Parquet only."""
    if isinstance(source, BaseModel):
        source = source.model_dump(exclude_unset=True)
    if not isinstance(source, Mapping):
        return source
    complete = {**own, **source}
    if "image_column" not in source and complete.get("format") != "parquet":
        complete.pop("image_column", None)
    return complete
