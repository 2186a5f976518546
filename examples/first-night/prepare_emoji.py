"""Turn emoji images and their names into rows for ingest, and hold some emoji out for evaluation.

    python prepare_emoji.py DATA OUT

DATA is the unpacked data folder. The script writes `emoji.parquet` to OUT (one row per image and language, with two
texts) and, for the held-out emoji, `pictures/`, `labels.jsonl` and `classes.json` for `training.evaluate`. All variants
of an emoji (skin, sex, age, hair, direction, members of a family) are on the same side of the split.
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
            "ref": f"{out / 'emoji.parquet'}#{number}",
            "locale": row["lang"],
            "name": row["tts"],
            "described": describe(row),
            "image": (pictures / row["png"]).read_bytes(),
        }
        for number, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(table), out / "emoji.parquet", row_group_size=len(table))


def write_evaluation(rows: Iterable[Row], pictures: Path, out: Path) -> None:
    """Write the held-out images, their labels, and their names by language."""
    classes: dict[str, dict[str, list[str]]] = {}
    (out / "pictures").mkdir(exist_ok=True)
    for row in rows:
        classes.setdefault(row["lang"], {})[row["png"]] = [unicodedata.normalize("NFC", row["tts"])]
        shutil.copyfile(pictures / row["png"], out / "pictures" / row["png"])
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
    write_rows([row for row in rows if not is_held_out(row["emoji"])], pictures, out)
    write_evaluation([row for row in rows if is_held_out(row["emoji"])], pictures, out)
    for held_out in (False, True):
        split = [row for row in rows if is_held_out(row["emoji"]) is held_out]
        emoji = {row["emoji"] for row in split}
        bases = {base(name) for name in emoji}
        name = "held out" if held_out else "training"
        sys.stdout.write(f"{name}: {len(split)} rows, {len(emoji)} emoji of {len(bases)} bases\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
