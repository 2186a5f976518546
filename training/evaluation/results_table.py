"""Show the results of an evaluation as tables, one per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

TITLES = {
    "zero_shot": "Zero-shot classification",
    "linear_probe": "Linear probe",
    "retrieval": "Image-text retrieval",
    "video_retrieval": "Text-video retrieval",
    "video_retrieval_dual_softmax": "Text-video retrieval with dual softmax over all texts",
}
HEADINGS = {
    "language": "language",
    "n": "n",
    "classes": "classes",
    "accuracy": "top-1",
    "top5_accuracy": "top-5",
    "macro_accuracy": "macro",
    "chance": "chance",
    "images": "images",
    "texts": "texts",
    **{f"image_to_text_recall@{k}": f"I→T R@{k}" for k in (1, 5, 10)},
    **{f"text_to_image_recall@{k}": f"T→I R@{k}" for k in (1, 5, 10)},
    "videos": "videos",
    **{f"video_to_text_recall@{k}": f"V→T R@{k}" for k in (1, 5, 10)},
    **{f"text_to_video_recall@{k}": f"T→V R@{k}" for k in (1, 5, 10)},
    "alignment": "alignment",
    "image_uniformity": "unif. I",
    "video_uniformity": "unif. V",
    "text_uniformity": "unif. T",
}
RETRIEVAL = ("image_to_text_recall@1", "text_to_image_recall@1", "video_to_text_recall@1", "text_to_video_recall@1")
MAIN = ("accuracy", *RETRIEVAL)
PLAIN = ("alignment", "image_uniformity", "video_uniformity", "text_uniformity")  # not shares


def main_figures(result: Mapping[str, Any]) -> list[str]:
    """Return the keys of the figures by which a model is judged: those to plot."""
    return [key for key in MAIN if key in result]


def results_table(results: Sequence[dict[str, Any]]) -> list[Table]:
    """Return a table per task, with a last row of means if it has several languages."""
    tables = []
    for task in dict.fromkeys(result["task"] for result in results):
        rows = [result for result in results if result["task"] == task]
        keys = [key for key in HEADINGS if key in rows[0]]
        table = Table(*(HEADINGS[key] for key in keys), title=TITLES[task])
        for row in rows:
            table.add_row(*(_show(key, row[key]) for key in keys), end_section=row is rows[-1])
        if len(rows) > 1:
            table.add_row(*(_mean(key, [row[key] for row in rows]) for key in keys))
        tables.append(table)
    return tables


def _show(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if key in PLAIN else f"{value:.1%}"
    return "" if value is None else str(value)


def _mean(key: str, values: Sequence[Any]) -> str:
    """Return the mean of figures; not of counts, and not if a language has none."""
    if key == "language":
        return f"mean of {len(values)}"
    return _show(key, sum(values) / len(values)) if all(isinstance(value, float) for value in values) else ""
