"""Turn emoji images and their names into rows for ingest, and hold some emoji out for evaluation.

    python prepare_emoji.py DATA OUT

DATA is the unpacked data folder. The script writes to OUT:

    emoji.parquet                        one row per image and language, with two texts
    captions.json, pictures/             the images of these rows with their names, to measure retrieval
    labels.jsonl, classes.json           the held-out emoji with their names, to measure zero-shot classification

All variants of an emoji (skin, sex, age, hair, direction, members of a family) are on the same side of the split.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.hashing import u64, uniform

LANGUAGES = ["ar", "de", "el", "en", "es", "fa", "fr", "he", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "uk"]
HELD_OUT = 0.15

# Skin tones, hair, sex symbols, the direction arrow, the joiner and variation selectors only make variants.
MODIFIERS = dict.fromkeys(map(ord, "🏻🏼🏽🏾🏿🦰🦱🦲🦳♀♂➡\u200d\ufe0e\ufe0f"))
SAME = {"👨": "🧑", "👩": "🧑", "👦": "🧒", "👧": "🧒", "👴": "🧓", "👵": "🧓", "🤴": "🫅", "👸": "🫅", "🤶": "🎅"}
SAME |= {"👫": "🧑🤝🧑", "👬": "🧑🤝🧑", "👭": "🧑🤝🧑", "💏": "🧑❤💋🧑", "💑": "🧑❤🧑"}
SAME |= {"👪": "🧑🧒", "🫃": "🤰", "🫄": "🤰"}
Row = dict[str, str]


def base(emoji: str) -> str:
    """Return the form that an emoji shares with all its variants."""
    plain = emoji.translate(MODIFIERS) or emoji
    people = "".join(SAME.get(char, char) for char in plain)
    return "".join(char for char, _ in groupby(people))


def is_held_out(emoji: str) -> bool:
    """Return whether an emoji and its variants are held out."""
    return uniform(u64(0, "held-out emoji", base(emoji))) < HELD_OUT


def describe(row: Row) -> str:
    """Return an emoji's name followed by the keywords that Unicode lists for it."""
    keywords = [word for word in row["keywords"].split("|") if word and word != row["tts"]]
    return row["tts"] + (": " + ", ".join(keywords) if keywords else "")


def write_rows(rows: Iterable[Row], pictures: Path, out: Path) -> None:
    """Write `emoji.parquet` as one row group, because the fetch reads its rows in hash order."""
    table = [
        {
            "ref": f"emoji.parquet#{number}",  # relative to the folder of the input
            "locale": row["lang"],
            "name": row["tts"],
            "described": describe(row),
            "image": (pictures / row["png"]).read_bytes(),
        }
        for number, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(table), out / "emoji.parquet", row_group_size=len(table))


def names_of(rows: Iterable[Row], pictures: Path, out: Path) -> dict[str, dict[str, list[str]]]:
    """Return for each language the names of each picture, and copy the pictures."""
    named: dict[str, dict[str, list[str]]] = {}
    (out / "pictures").mkdir(exist_ok=True)
    for row in rows:
        named.setdefault(row["lang"], {})[row["png"]] = [unicodedata.normalize("NFC", row["tts"])]
        shutil.copyfile(pictures / row["png"], out / "pictures" / row["png"])
    return named


def write_captions(rows: Iterable[Row], pictures: Path, out: Path) -> None:
    """Write the training images with their names by language."""
    named = names_of(rows, pictures, out)
    images = sorted({name for of_language in named.values() for name in of_language})
    captions = {language: [names.get(image, []) for image in images] for language, names in named.items()}
    content = json.dumps({"images": images, "captions": captions}, ensure_ascii=False)
    (out / "captions.json").write_text(content, encoding="utf-8")


def write_classes(rows: Iterable[Row], pictures: Path, out: Path) -> None:
    """Write the held-out images, their labels, and their names by language."""
    classes = names_of(rows, pictures, out)
    names = sorted({name for named in classes.values() for name in named})
    labels = [json.dumps({"image": f"pictures/{name}", "label": name}) for name in names]
    (out / "labels.jsonl").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (out / "classes.json").write_text(json.dumps({"languages": classes}, ensure_ascii=False), encoding="utf-8")


def main(data: Path, out: Path) -> None:
    """Read the table of names, split it by emoji, and write both parts."""
    out.mkdir(exist_ok=True)
    with (data / "emoji-pairs-base.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["lang"] in LANGUAGES]
    pictures = data / "emoji64"
    training = [row for row in rows if not is_held_out(row["emoji"])]
    write_rows(training, pictures, out)
    write_captions(training, pictures, out)
    write_classes([row for row in rows if is_held_out(row["emoji"])], pictures, out)
    for held_out in (False, True):
        split = [row for row in rows if is_held_out(row["emoji"]) is held_out]
        emoji = {row["emoji"] for row in split}
        bases = {base(name) for name in emoji}
        name = "held out" if held_out else "training"
        sys.stdout.write(f"{name}: {len(split)} rows, {len(emoji)} emoji of {len(bases)} bases\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
