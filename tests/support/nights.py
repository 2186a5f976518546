"""A small night to feed the jobs with: metadata, JSON Lines with image references, pictures."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.lake.files import WrittenFile
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS
from curation.matching.matcher_file import compile_entries
from curation.matching.store import Manifest, MatcherStore, matcher_name
from jobs.runtime.context import Context
from jobs.runtime.spec import open_match_spec
from jobs.runtime.stage import Publication, StageRun
from jobs.runtime.work_unit import decode_result, encode_result, result_type

ENTRIES = {
    "en": ["a", "big", "cat", "cat sitting", "dog", "garden", "photo", "red", "red dog", "table", "the"],
    "fr": ["chat", "chien", "grand", "grand chien", "le", "maison", "rouge", "table"],
    "ja": ["カメラ", "犬", "猫", "赤い"],
    "other": ["0", "logo"],
}
TEXTS = [
    "the big red dog is on the table",
    "a cat sitting in the garden of the old house",
    "a photo of a red dog and a cat",
    "this is the garden where nothing is found",
    "le grand chien rouge est dans la maison",
    "le chat est sur la table de la maison",
    "赤い猫と犬がいます",
    "新しいカメラで犬の写真を撮りました",
    "IMG_0023.jpg",
    "logo",
]


def picture(number: int) -> bytes:
    """A small picture that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((24 + number % 9, 20), Image.Resampling.BICUBIC)
    run_tasks = io.BytesIO()
    image.save(run_tasks, "PNG")
    return run_tasks.getvalue()


def publish_metadata(context: Context, entries: Mapping[str, Sequence[str]] = ENTRIES) -> str:
    """Compile and publish matchers for sorted entries, as build_metadata does; return the version."""
    Lake(context.config.lake, context.storage).create()
    lake = context.lake.root
    version = hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]
    files = {
        matcher_name(rules, lang): MatcherStore(context.storage, lake).write(
            version, rules, lang, compile_entries(sorted(words), rules)
        )
        for lang, words in entries.items()
        for rules in ("worldwide", "reference")
    }
    counts = {lang: len(words) for lang, words in entries.items()}
    MatcherStore(context.storage, lake).write_manifest(Manifest(version, counts, files))
    MatcherStore(context.storage, lake).set_latest(version)
    return version


def publish_pairs(made: Context, images: Sequence[dict]) -> None:
    """Publish images (image_id, texts) as the pairs of batch b1, in four files."""
    rows = [{**image, "image_url": f"http://h/{image['image_id']}", "page_url": None} for image in images]
    partition = {"pairs": {"batch": "b1"}}
    run = StageRun("ingest", made.lake, made.config, fingerprint_keys={}, inputs={}, outputs=partition, batch="b1")
    files = []
    for place in range(4):
        with run.writers()("pairs", place) as writer:
            part = rows[len(rows) * place // 4 : len(rows) * (place + 1) // 4]
            writer.write(pa.Table.from_pylist(part, schema=SCHEMAS["pairs"]))
        files += writer.files
    run.publish(Publication({"pairs": files}, totals={}))


def publish_entries(
    context: Context, entries: Mapping[str, Sequence[str]], aliases: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Publish the entries of the metadata, some with aliases, as build_metadata does it."""
    lake, version = context.lake, open_match_spec(context).manifest.version
    files = []
    for lang, words in entries.items():
        folder = f"metadata_version={version}/lang={lang}/run"
        rows = [
            {"entry_id": n, "entry": word, "origin": "wordnet" if n % 2 else "title", "score": n / 4}
            | {"aliases": (aliases or {}).get(word, [])}
            for n, word in enumerate(sorted(words))
        ]
        with PartitionWriter(context.storage, lake.layout.table("entries"), folder, 0, SCHEMAS["entries"]) as writer:
            writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["entries"]))
        files += [WrittenFile(f.path, f.size, f.rows, f.sha256, {"lang": lang}) for f in writer.files]
    lake.publish("entries", {"metadata_version": version}, files, expected=(), metadata={"run_id": "run"})


def run_here(_spark, _name, units, task, **_) -> list:
    """Run tasks in this process instead of Spark's workers, so that tests can change what the tasks use."""
    kind = result_type(task)
    return [decode_result(encode_result(task(index, unit)), kind) for index, unit in enumerate(units)]


def write_night(folder: Path, images: int, *, files: int = 3, start: int = 0) -> list[str]:
    """Write JSONL inputs with image references to pictures beside them; some are missing, some are not pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[list[str]] = [[] for _ in range(files)]
    for number in range(start, start + images):
        path = folder / f"{number}.png"
        if number % 17 == 3:
            path.write_bytes(b"not a picture")
        elif number % 19 != 4:
            path.write_bytes(picture(number))
        texts = [TEXTS[number * number % len(TEXTS)], TEXTS[(number + 3) % len(TEXTS)] + f" {number}"]
        row = {"url": None, "ref": str(path), "text": texts}
        lines[number % files].append(json.dumps(row, ensure_ascii=False))
    paths = []
    for place, rows in enumerate(lines):
        paths.append(str(folder / f"{place}.jsonl"))
        Path(paths[-1]).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return paths


NIGHT = {
    "recipe": "default",
    "ingest": {"format": "jsonl", "ref_column": "ref", "bucket_bytes": 4000},
    "balance": {"t_en": 20, "bucket_bytes": 4000},
    "images": {"shard_bytes": 20_000, "assumed_image_bytes": 1000},
}
