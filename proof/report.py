"""Write the page of the proof as one self-contained HTML file, and its figures as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from markupsafe import Markup

from curation import __version__
from curation.errors import InputError
from curation.report.html import environment
from curation.report.line_chart import line_chart
from proof.results import RunResult, arm_rows, chance, claim_rows, concepts_of, language_rows, read_results
from proof.settings import Scale, World, read_arm
from proof.world import write_json
from training.report.metrics_file import read_lines

PAGE, FIGURES = "proof.html", "results.json"
SHEET = 24  # pictures of each kind
# ImageNet accuracy of a ViT-B/32 in percent (arXiv 2507.22062, table 2).
PAPER = {"english": 67.5, "no_isolation": 66.9, "merged": 62.1, "one_t": 61.1, "t_per_language": 64.7}


def write_report(world: World, scale: Scale, out: Path) -> Path:
    """Write the page and the figures of all results in a folder, and return the path of the page."""
    results = read_results(out)
    if not results:
        raise InputError(f"--out: {out} has no result: run the proof without --report first")
    concepts = concepts_of(out)
    arms = arm_rows(world, results, concepts)
    claims = claim_rows(world, results, concepts)
    titles = {row["arm"]: read_arm(row["arm"]).title for row in arms}
    models = list(dict.fromkeys(run.model for run in results))
    removed = json.loads(min(out.glob("seed-*/world/separation.json")).read_bytes())
    write_json(
        out / FIGURES,
        {"arms": arms, "claims": claims, "concepts": len(concepts), "chance": chance(results), "removed": len(removed)},
    )
    page = (
        environment("proof")
        .get_template("proof.html")
        .render(
            world=world,
            scale=scale,
            arms=arms,
            claims=claims,
            titles=titles,
            paper=PAPER,
            order=ranks(arms),
            models=models,
            languages={model: language_rows(results, model) for model in models},
            shares={code: size.share for code, size in world.languages.items()},
            curves=list(curves(results)),
            sheet={kind: list(pictures(out, kind)) for kind in ("site", "heldout")},
            removed=removed,
            concepts=len(concepts),
            chance=chance(results),
            written=datetime.now(UTC),
            code_version=__version__,
        )
    )
    (out / PAGE).write_text(page, encoding="utf-8")
    return out / PAGE


def ranks(arms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the paper's order beside that of the first model: English accuracy of the arms that the paper has."""
    first = [row for row in arms if row["model"] == arms[0]["model"] and row["arm"] in PAPER]
    ours = sorted(first, key=lambda row: -row["english"]["mean"])
    theirs = sorted((row["arm"] for row in first), key=lambda arm: -PAPER[arm])
    return [
        {"paper": arm, "ours": row["arm"], "english": row["english"]} for arm, row in zip(theirs, ours, strict=True)
    ]


def curves(results: Sequence[RunResult]) -> Iterator[tuple[str, Markup]]:
    """Yield a title and a chart of the loss for each run of the first seed."""
    for run in results:
        if run.seed == min(result.seed for result in results):
            lines = [values for _, values in read_lines(run.folder / "model") if "loss" in values]
            points = [(values["step"], values["loss"]) for values in lines]
            yield f"{run.arm}, {run.model}", line_chart([points], f"loss of {run.arm}", lambda value: f"{value:.2f}")


def pictures(out: Path, kind: str) -> Iterator[tuple[str, str]]:
    """Yield random pictures of the site or of the held-out artists: a data URI, and what the picture shows."""
    world = min(out.glob("seed-*/world"))
    listing = world / "pictures.jsonl" if kind == "site" else world / "heldout" / "labels.jsonl"
    rows = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    for row in Random(kind).sample(rows, min(SHEET, len(rows))):
        path = world / "site" / row["path"] if kind == "site" else world / "heldout" / row["image"]
        data = base64.b64encode(path.read_bytes()).decode()
        yield (
            f"data:image/jpeg;base64,{data}",
            f"{row['artist']}: {row['concept']}" + (f", “{row['text']}” ({row['lang']})" if kind == "site" else ""),
        )
