"""Schemas and partition columns of the published tables.

Partition columns are stored in the table's log, not in the data files. Rows are sorted within a file and across the
files of a partition, in name order: `pairs` and `matches` by image_id, `counts` and `totals` by lang and entry_id,
`thresholds` by lang, `entries` by entry_id, `source_lists` by place, `images` and `duplicates` by bucket and image_id,
and `curated`, `shards` and `compacted` by order hash (`curation.hashing.order_hash`) and image_id.
`annotations` has the rows of `shards`, in the same files and row groups, and `token_languages` is sorted by lang and
token_id.
"""

from __future__ import annotations

import pyarrow as pa

TEXT = pa.struct([("source", pa.string()), ("text", pa.string())])
MATCHED_TEXT = pa.struct(
    [
        ("source", pa.string()),
        ("text", pa.string()),
        ("lang", pa.string()),
        ("lang_score", pa.float32()),
        ("entry_ids", pa.list_(pa.int32())),
    ]
)
WEIGHTED_TEXT = pa.struct([*MATCHED_TEXT, ("keep_probability", pa.float64())])

IMAGE_COLUMNS = [
    ("image_id", pa.string()),
    ("image_url", pa.string()),
    ("page_url", pa.string()),
    ("image_ref", pa.string()),
]
CURATED_COLUMNS = [
    *IMAGE_COLUMNS,
    ("source", pa.string()),
    ("text", pa.string()),
    ("lang", pa.string()),
    ("entry_ids", pa.list_(pa.int32())),
    ("keep_probability", pa.float64()),
]
PICTURE_COLUMNS = [
    ("image", pa.large_binary()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("image_sha256", pa.string()),
    ("phash", pa.string()),
]
SCORES = pa.map_(pa.string(), pa.float64())
WRITTEN_TEXT = pa.struct([("text", pa.string()), ("style", pa.string()), ("of", pa.int32())])
REGION = pa.struct([("box", pa.list_(pa.float32())), ("score", pa.float32()), ("label", pa.string())])
VECTOR = pa.list_(pa.float32())

# The columns of each kind of annotations.
ANNOTATIONS: dict[str, list[tuple[str, pa.DataType]]] = {
    "rewrites": [("rewrites", pa.list_(WRITTEN_TEXT))],
    "paraphrases": [("paraphrases", pa.list_(WRITTEN_TEXT))],
    "hard_texts": [("hard_texts", pa.list_(WRITTEN_TEXT))],
    "english": [("english", pa.string())],
    "teacher_image": [("teacher_image", VECTOR)],
    "teacher_text": [("teacher_text", VECTOR)],
    "regions": [("regions", pa.list_(REGION))],
    "teacher_regions": [("teacher_regions", pa.list_(VECTOR))],
    "clip_score": [("clip_score", pa.float32())],
    "propn_share": [("propn_share", pa.float32())],
    "frames": [
        ("frames", pa.list_(pa.binary())),
        ("frame_times", pa.list_(pa.float32())),
        ("subtitle", pa.string()),
        ("caption", pa.string()),
    ],
}

SCHEMAS: dict[str, pa.Schema] = {
    "pairs": pa.schema([*IMAGE_COLUMNS, ("texts", pa.list_(TEXT))]),
    "matches": pa.schema([*IMAGE_COLUMNS, ("texts", pa.list_(MATCHED_TEXT))]),
    "counts": pa.schema([("lang", pa.string()), ("entry_id", pa.int32()), ("count", pa.int64())]),
    "totals": pa.schema([("lang", pa.string()), ("entry_id", pa.int32()), ("count", pa.int64())]),
    "thresholds": pa.schema(
        [
            ("lang", pa.string()),
            ("t", pa.int64()),
            ("p", pa.float64()),
            ("matches", pa.int64()),
            ("entries_seen", pa.int64()),
        ]
    ),
    "entries": pa.schema(
        [
            ("entry_id", pa.int32()),
            ("entry", pa.string()),
            ("origin", pa.string()),
            ("score", pa.float64()),
            ("aliases", pa.list_(pa.string())),
        ]
    ),
    "source_lists": pa.schema(
        [("place", pa.int32()), ("entry", pa.string()), ("origin", pa.string()), ("score", pa.float64())]
    ),
    "curated": pa.schema([*CURATED_COLUMNS, ("texts", pa.list_(WEIGHTED_TEXT))]),
    "images": pa.schema(
        [
            ("bucket", pa.int32()),
            ("image_id", pa.string()),
            ("status", pa.string()),
            ("reason", pa.string()),
            *PICTURE_COLUMNS,
            ("original_sha256", pa.string()),  # null in rows of releases before 0.3
            ("scores", SCORES),  # only in files of runs with image filters
        ]
    ),
    "duplicates": pa.schema(
        [
            ("image_id", pa.string()),
            ("reason", pa.string()),  # benchmark, exact or near
            ("duplicate_of", pa.string()),
            ("distance", pa.int32()),
            ("hash", pa.string()),  # sha256, phash or embedding
        ]
    ),
    "shards": pa.schema(
        [
            *CURATED_COLUMNS,
            *PICTURE_COLUMNS,
            ("texts", pa.list_(WEIGHTED_TEXT)),
            ("scores", SCORES),  # only in files of runs that were asked for it
        ]
    ),
    "compacted": pa.schema(
        [
            *CURATED_COLUMNS,
            *PICTURE_COLUMNS,
            ("texts", pa.list_(WEIGHTED_TEXT)),
            ("scores", SCORES),  # null in rows of shards without it
        ]
    ),
    "annotations": pa.schema(
        [
            ("image_id", pa.string()),
            ("input_hash", pa.int64()),
            *(column for columns in ANNOTATIONS.values() for column in columns),  # a file has those of its kind
        ]
    ),
    "token_languages": pa.schema([("lang", pa.string()), ("token_id", pa.int32()), ("count", pa.int64())]),
    "runs": pa.schema(
        [
            ("run_id", pa.string()),
            ("stage", pa.string()),
            ("batch", pa.string()),
            ("started", pa.timestamp("us", tz="UTC")),
            ("finished", pa.timestamp("us", tz="UTC")),
            ("code_version", pa.string()),
            ("fingerprint", pa.string()),
            ("complete", pa.bool_()),
            ("config", pa.string()),
            ("inputs", pa.string()),
            ("totals", pa.string()),
            ("drops", pa.string()),
            ("seconds", pa.string()),
        ]
    ),
    "ledger": pa.schema(
        [
            ("run_id", pa.string()),
            ("batch", pa.string()),
            ("path", pa.string()),
            ("etag", pa.string()),
            ("size", pa.int64()),
            ("read", pa.int64()),
            ("kept", pa.int64()),
            ("drops", pa.string()),
            ("seconds", pa.float64()),
            ("status", pa.string()),
            ("error", pa.string()),
        ]
    ),
    "tombstones": pa.schema(
        [
            ("image_id", pa.string()),
            ("host", pa.string()),
            ("reason", pa.string()),
            ("date", pa.date32()),
            ("image_url", pa.string()),  # null in rows of releases before 0.3
        ]
    ),
}


def written_schema(table: str, *, scores: bool) -> pa.Schema:
    """Return the schema of the files of `images` or `shards`, with or without the scores of image filters."""
    schema = SCHEMAS[table]
    return schema if scores else schema.remove(schema.get_field_index("scores"))


def annotation_schema(kind: str) -> pa.Schema:
    """Return the schema of the files of one kind of annotations."""
    return pa.schema([*list(SCHEMAS["annotations"])[:2], *(pa.field(*column) for column in ANNOTATIONS[kind])])


PARTITIONS: dict[str, tuple[str, ...]] = {
    "pairs": ("batch",),
    "matches": ("match_id", "batch"),
    "counts": ("match_id", "batch"),
    "totals": ("match_id", "batch"),
    "thresholds": ("recipe", "batch"),
    "entries": ("metadata_version", "lang"),
    "source_lists": ("metadata_version", "wikipedia"),
    "curated": ("recipe", "batch"),
    "images": ("recipe", "batch"),
    "duplicates": ("recipe", "batch"),
    "shards": ("recipe", "batch"),
    "compacted": ("recipe", "dataset"),
    "annotations": ("recipe", "batch", "kind"),
    "token_languages": ("recipe", "batch", "tokenizer"),
    "runs": (),
    "ledger": (),
    "tombstones": (),
}
