"""Read the results of all runs of a scale, and compute the figures of the report from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from proof.settings import Measure, World
from proof.statistics import Floats, bootstrap, concept_accuracies, judge, thirds

REFERENCE = "t_per_language"  # the arm by whose curated pictures concepts are head, middle or tail
ENGLISH = "en"
RETRIEVAL = ("image_to_text_recall@1", "text_to_image_recall@1", "alignment", "image_uniformity", "text_uniformity")


@dataclass(frozen=True)
class RunResult:
    """The result of a run: an arm with a model and a seed.

    Attributes:
        folder: its folder.
        result: the content of its result.json.
        counts: pictures per concept in the shards of its recipe.
        languages: pairs per language that it is trained on.
    """

    arm: str
    model: str
    seed: int
    folder: Path
    result: Mapping[str, Any]
    counts: Mapping[str, int]
    languages: Mapping[str, int]

    def accuracies(self, measure: Measure, concepts: Sequence[str]) -> Floats:
        """Return the accuracy of each concept."""
        return concept_accuracies(self.folder / "concepts.parquet", measure, concepts)

    def retrieval(self, figure: str) -> float:
        """Return the mean of a figure of retrieval over the languages."""
        return fmean(row[figure] for row in self.result["retrieval"])


def read_results(out: Path) -> list[RunResult]:
    """Return the results below the folder of a scale, by model, arm and seed."""
    results = []
    for path in sorted(out.glob("seed-*/runs/*/result.json")):
        folder, seed_folder = path.parent, path.parents[2]
        result = json.loads(path.read_bytes())
        model = result["config"]["preset"]
        arm = folder.name.removesuffix(f"-{model}")
        if arm == folder.name:  # a repeated run
            continue
        curated = json.loads((seed_folder / "curated" / f"{result['config']['recipe']}.json").read_bytes())
        seed = int(seed_folder.name.removeprefix("seed-"))
        trained = result["config"].get("languages", "all")
        languages = {lang: count for lang, count in curated["languages"].items() if trained == "all" or lang in trained}
        results.append(RunResult(arm, model, seed, folder, result, curated["concepts"], languages))
    return sorted(results, key=lambda run: (run.model, run.arm, run.seed))


def concepts_of(out: Path) -> list[str]:
    """Return the concepts that are measured, sorted."""
    path = min(out.glob("seed-*/world/classes.json"))
    classes = json.loads(path.read_bytes())["languages"]
    return sorted({concept for names in classes.values() for concept in names})


def claim_rows(world: World, results: Sequence[RunResult], concepts: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each claim and model the paired difference with its interval, and the verdict.

    A claim whose arms have no seed in common was not run.
    """
    rows = []
    runs = {(run.model, run.arm, run.seed): run for run in results}
    for model in dict.fromkeys(run.model for run in results):
        for claim in world.claims:
            seeds = sorted(
                seed
                for size, arm, seed in runs
                if (size, arm) == (model, claim.better) and (model, claim.worse, seed) in runs
            )
            row = {
                "model": model,
                "claim": claim.name,
                "better": claim.better,
                "worse": claim.worse,
                "seeds": len(seeds),
            }
            row |= {"measure": claim.measure, "margin": claim.margin, "verdict": "not run"}
            if seeds:
                pairs = [(runs[model, claim.better, seed], runs[model, claim.worse, seed]) for seed in seeds]
                values = [
                    one.accuracies(claim.measure, concepts) - two.accuracies(claim.measure, concepts)
                    for one, two in pairs
                ]
                difference = bootstrap(np.stack(values), world.bootstrap)
                row |= {
                    "difference": difference._asdict(),
                    "verdict": judge(difference, claim, len(seeds), world.bootstrap),
                }
            rows.append(row)
    return rows


def arm_rows(world: World, results: Sequence[RunResult], concepts: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each model and arm its figures, means over the seeds with intervals where concepts are resampled."""
    rows = []
    reference = {run.seed: run.counts for run in results if run.arm == REFERENCE}
    for model, arm in dict.fromkeys((run.model, run.arm) for run in results):
        runs = [run for run in results if (run.model, run.arm) == (model, arm)]
        macro, english = (np.stack([run.accuracies(kind, concepts) for run in runs]) for kind in ("macro", "english"))
        row: dict[str, Any] = {"model": model, "arm": arm, "seeds": len(runs)}
        row |= {
            "macro": bootstrap(macro, world.bootstrap)._asdict(),
            "english": bootstrap(english, world.bootstrap)._asdict(),
        }
        for part in ("head", "middle", "tail"):
            chosen = [thirds(reference.get(run.seed, run.counts), concepts)[part] for run in runs]
            row[part] = fmean(float(np.nanmean(values[index])) for values, index in zip(macro, chosen, strict=True))
        row |= {figure: fmean(run.retrieval(figure) for run in runs) for figure in RETRIEVAL}
        pairs = [sum(run.languages.values()) for run in runs]
        row["pairs"] = round(fmean(pairs))
        row["english_share"] = fmean(
            run.languages.get(ENGLISH, 0) / total for run, total in zip(runs, pairs, strict=True)
        )
        rows.append(row)
    return rows


def language_rows(results: Sequence[RunResult], model: str) -> dict[str, dict[str, float]]:
    """Return the mean macro accuracy per language and arm: language -> arm -> accuracy."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in results:
        if run.model == model:
            for row in run.result["zero_shot"]:
                found.setdefault(row["language"], {}).setdefault(run.arm, []).append(row["macro_accuracy"])
    return {language: {arm: fmean(values) for arm, values in arms.items()} for language, arms in found.items()}


def chance(results: Sequence[RunResult]) -> float:
    """Return the accuracy of guessing in English."""
    return next(1 / int(row["classes"]) for row in results[0].result["zero_shot"] if row["language"] == ENGLISH)
