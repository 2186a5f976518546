"""A small lake of shards, published in the same way as by the fetch stage."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from curation.io.storage import Storage
from curation.lake.files import WrittenFile
from curation.lake.lake import Lake
from curation.lake.schemas import SCHEMAS

SMALL = {"batch_size": 16, "image_size": 16, "vocab_size": 320, "seed": 3, "log_every": 1, "shuffle_streams": 4}

COLORS = ["red", "green", "blue", "yellow", "black", "orange"]
SHAPES = ["circle", "square", "bar", "cross"]


def draw(number: int, side: int = 24) -> tuple[bytes, str]:
    """Draw the colored shape of a number, different for every number; return it as PNG with its caption."""
    color, shape = COLORS[number % 6], SHAPES[number // 6 % 4]
    image = Image.new("RGB", (side, side + number % 3), (255, 255, 255 - number % 50))
    pen, (low, high) = ImageDraw.Draw(image), (side // 5 + number % 2, side - side // 5)
    boxes = {
        "circle": [],
        "square": [(low, low, high, high)],
        "bar": [(low, side // 2 - 2, high, side // 2 + 2)],
        "cross": [(low, side // 2 - 2, high, side // 2 + 2), (side // 2 - 2, low, side // 2 + 2, high)],
    }
    for box in boxes[shape]:
        pen.rectangle(box, fill=color)
    if shape == "circle":
        pen.ellipse((low, low, high, high), fill=color)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue(), f"a {color} {shape}"


def shard_row(number: int, *, host: str = "a.example") -> dict[str, object]:
    image, text = draw(number)
    return {
        "image_id": f"{number:024x}",
        "image_url": f"https://{host}/{number}.png",
        "source": "alt",
        "text": text,
        "lang": "en",
        "entry_ids": [number % 6],
        "keep_probability": 1.0,
        "image": image,
        "width": 24,
        "height": 24 + number % 3,
        "image_sha256": "",
        "phash": "",
        "texts": [],
    }


def matched_row(number: int) -> dict[str, object]:
    """Return a row of shards of every matched pair: one to four different texts, each with a keep probability."""
    caption = draw(number)[1]
    probabilities = [(0.1, 0.4, 0.75, 1.0, 0.0)[(number + 2 * k) % 5] for k in range(1 + number % 4)]
    fields = {"source": "alt", "lang": "en", "lang_score": 1.0, "entry_ids": [number % 6]}
    texts = [{**fields, "text": f"{caption} {k}", "keep_probability": keep} for k, keep in enumerate(probabilities)]
    published = {"text": texts[-1]["text"], "keep_probability": probabilities[-1]}
    return {**shard_row(number), **published, "texts": texts}


def publish_matched(shard_lake: ShardLake, rows: int) -> None:
    """Publish shards of every matched pair, in files and row groups of uneven sizes."""
    shard_lake.publish([matched_row(n) for n in range(rows)], group_rows=9, file_rows=41, selection="all")


class ShardLake:
    """A lake in a local folder, with methods to publish shards."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lake = Lake(str(root), Storage())

    def publish(self, rows, *, batch="b1", recipe="default", group_rows=10, file_rows=30, selection="drawn", run="r1"):
        """Replace a partition; the commit holds the run's row, whose totals record the selection."""
        partition = {"recipe": recipe, "batch": batch}
        expected = self.lake.snapshot("shards", partition).run_ids
        files = []
        for start in range(0, len(rows), file_rows):
            path = f"recipe={recipe}/batch={batch}/{run}/{start // file_rows:06d}.0000-{run}.parquet"
            table = pa.Table.from_pylist(rows[start : start + file_rows], schema=SCHEMAS["shards"])
            file = self.root / "shards" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, file, row_group_size=group_rows)
            files.append(WrittenFile(path, file.stat().st_size, table.num_rows, ""))
        totals = json.dumps({"selection": selection})
        run_row = json.dumps({"run_id": run, "totals": totals})
        return self.lake.publish(
            "shards", partition, files, expected=expected, metadata={"run_id": run, "run": run_row}
        )

    def add_run(self, run: str, selection: str) -> None:
        """Add the run's row to the table `runs`, as a stage does after its commit."""
        now = datetime.now(UTC)
        texts = dict.fromkeys(["batch", "code_version", "fingerprint", "inputs", "config", "drops", "seconds"], "")
        totals = json.dumps({"selection": selection})
        row = {"run_id": run, "stage": "fetch_images", "started": now, "finished": now, "complete": True} | texts
        self.lake.append("runs", pa.Table.from_pylist([{**row, "totals": totals}], schema=SCHEMAS["runs"]))
