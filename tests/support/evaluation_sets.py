"""Evaluation sets of the drawn shapes: captions in two languages, and colors to classify."""

from __future__ import annotations

import json
from pathlib import Path

from support.shards import COLORS, SHAPES, draw


def write_sets(folder: Path) -> dict[str, dict[str, str]]:
    """Write the files of two evaluation sets to a folder and return their configuration, `shapes` and `colors`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(24):
        (folder / f"{number}.png").write_bytes(draw(number)[0])
    names = [f"{number}.png" for number in range(24)]
    english = [[draw(number)[1]] for number in range(24)]
    captions = {"en": english, "xx": [[text[::-1]] for (text,) in english]}
    (folder / "captions.json").write_text(json.dumps({"images": names, "captions": captions}))
    labels = [{"image": name, "label": COLORS[number % 6]} for number, name in enumerate(names)]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, labels)))
    classes = {"en": {color: [f"a {color} {shape}" for shape in SHAPES] for color in COLORS}}
    (folder / "classes.json").write_text(json.dumps({"languages": classes}))
    return {
        "shapes": {"captions": str(folder / "captions.json"), "image_folder": str(folder)},
        "colors": {"images": str(folder / "labels.jsonl"), "classes": str(folder / "classes.json")},
    }
