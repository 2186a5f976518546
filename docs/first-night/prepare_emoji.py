"""Turns the emoji pictures and their names into rows for ingest, and holds some emoji out for evaluation.

    python prepare_emoji.py DATA OUT

DATA is the unpacked data folder. OUT gets `emoji.parquet` (one row a picture and language, with two texts), and of the
held-out emoji `pictures/`, `labels.jsonl` and `classes.json` for `training.evaluate`. Variants of one emoji (skin, sex,
age, hair, direction, members of a family) stand on one side.
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

# Skin tones, hair, sex signs, the arrow of direction, the joiner and variation selectors make variants only.
MODIFIERS = dict.fromkeys(map(ord, "🏻🏼🏽🏾🏿🦰🦱🦲🦳♀♂➡\u200d\ufe0e\ufe0f"))
SAME = {"👨": "🧑", "👩": "🧑", "👦": "🧒", "👧": "🧒", "👴": "🧓", "👵": "🧓", "🤴": "🫅", "👸": "🫅", "🤶": "🎅"}
SAME |= {"👫": "🧑🤝🧑", "👬": "🧑🤝🧑", "👭": "🧑🤝🧑", "💏": "🧑❤💋🧑", "💑": "🧑❤🧑"}
SAME |= {"👪": "🧑🧒", "🫃": "🤰", "🫄": "🤰"}
Row = dict[str, str]


def base(emoji: str) -> str:
    """Return what an emoji has in common with its variants."""
    plain = emoji.translate(MODIFIERS) or emoji
    people = "".join(SAME.get(char, char) for char in plain)
    return "".join(char for char, _ in groupby(people))


def held_out(emoji: str) -> bool:
    """Tell on which side an emoji and its variants are."""
    return uniform(u64(0, "held-out emoji", base(emoji))) < HELD_OUT


def described(row: Row) -> str:
    """Return an emoji's name with the keywords that Unicode lists for it."""
    keywords = [word for word in row["keywords"].split("|") if word and word != row["tts"]]
    return row["tts"] + (": " + ", ".join(keywords) if keywords else "")


def write_rows(rows: Iterable[Row], pictures: Path, out: Path) -> None:
    """Write `emoji.parquet`: one row group, because the fetch reads its rows in hashed order."""
    table = [
        {
            "ref": f"{out / 'emoji.parquet'}#{number}",
            "locale": row["lang"],
            "name": row["tts"],
            "described": described(row),
            "image": (pictures / row["png"]).read_bytes(),
        }
        for number, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(table), out / "emoji.parquet", row_group_size=len(table))


def write_evaluation(rows: Iterable[Row], pictures: Path, out: Path) -> None:
    """Write the held-out pictures, their labels, and their names by language."""
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
    """Read the table of names, split it by emoji, and write both sides."""
    out.mkdir(exist_ok=True)
    with (data / "emoji-pairs-base.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["lang"] in LANGUAGES]
    pictures = data / "emoji64"
    write_rows([row for row in rows if not held_out(row["emoji"])], pictures, out)
    write_evaluation([row for row in rows if held_out(row["emoji"])], pictures, out)
    for side in (False, True):
        here = [row for row in rows if held_out(row["emoji"]) is side]
        emoji = {row["emoji"] for row in here}
        bases = {base(name) for name in emoji}
        name = "held out" if side else "training"
        sys.stdout.write(f"{name}: {len(here)} rows, {len(emoji)} emoji of {len(bases)} bases\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
