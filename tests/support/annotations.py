"""Annotations beside the shards of a small lake, published in the same way as by jobs.annotate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.lake.schemas import ANNOTATIONS, SCHEMAS, annotation_schema
from jobs.runtime.partitions import WriterFactory
from support.shards import ShardLake


def publish_annotations(
    shard_lake: ShardLake,
    kind: str = "rewrites",
    *,
    value: Callable[[str, str], Any],
    maker: Mapping[str, Any],
    batch: str = "b1",
    run: str = "20300101T000000-a-1",
    ids: Callable[[str], str] = str,
) -> None:
    """Publish annotations of a kind beside the shards of a batch; their values are a function of kind and image_id.

    The value of a kind with several columns is a dictionary.
    """
    lake, partition = shard_lake.lake, {"recipe": "default", "batch": batch, "kind": kind}
    shards = lake.snapshot("shards", {"batch": batch})
    writers, files = WriterFactory(lake.storage, lake.root, run, {"annotations": partition}), []
    for number, shard in enumerate(shards.files):
        with writers("annotations", number, schema=annotation_schema(kind)) as writer:
            parquet = pq.ParquetFile(shard.path)
            for group in range(parquet.num_row_groups):
                names = [ids(name) for name in parquet.read_row_group(group, ["image_id"])["image_id"].to_pylist()]
                values = [value(kind, name) for name in names]
                if len(ANNOTATIONS[kind]) == 1:
                    values = [{kind: each} for each in values]
                rows = [
                    {"image_id": name, "input_hash": 0, **(each or {})}
                    for name, each in zip(names, values, strict=True)
                ]
                writer.write_row_group(pa.Table.from_pylist(rows, schema=annotation_schema(kind)))
        files += writer.files
    inputs = json.dumps({"shards": list(shards.run_ids), "settings": maker})
    now = datetime.now(UTC)
    row = dict.fromkeys(["stage", "batch", "code_version", "fingerprint", "config", "totals", "drops", "seconds"], "{}")
    row |= {"run_id": run, "started": now, "finished": now, "complete": True, "inputs": inputs}
    expected = lake.snapshot("annotations", partition).run_ids
    lake.publish("annotations", partition, files, expected=expected, metadata={"run_id": run})
    lake.append("runs", pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))
