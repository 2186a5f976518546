"""The page states what the results say, and nothing else."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proof.artwork import read_gallery
from proof.measures import CONCEPTS
from proof.names import read_names
from proof.report import write_report
from proof.results import read_results
from proof.settings import Claim, Scale, read_arm
from proof.world import write_json, write_world

SCALE = Scale(pictures=60, models={"tiny": 640}, arms=["t_per_language", "merged"], seeds=3)
SEEDS = 3


def write_run(out, arm, seed, correct):
    """Write the result of a run in which `correct` of the five concepts are recognized in both languages."""
    folder, recipe = out / f"seed-{seed}" / "runs" / f"{arm}-tiny", read_arm(arm).recipe
    (folder / "model").mkdir(parents=True)
    concepts = sorted(("1f408", "1f415", "1f3e0", "2600", "1f5bc"))
    rows = [
        {"lang": lang, "concept": concept, "pictures": 2, "correct": 2 * (rank < correct)}
        for lang in ("en", "de")
        for rank, concept in enumerate(concepts)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=CONCEPTS), folder / "concepts.parquet")
    shot = [{"language": lang, "macro_accuracy": correct / 5, "classes": 5} for lang in ("en", "de")]
    figures = {"image_to_text_recall@1": 0.5, "text_to_image_recall@1": 0.25, "alignment": 1.5}
    found = [{"language": "en", **figures, "image_uniformity": -1.0, "text_uniformity": -2.0}]
    config = {"preset": "tiny", "recipe": recipe}
    write_json(folder / "result.json", {"config": config, "zero_shot": shot, "retrieval": found})
    (folder / "model" / "metrics.jsonl").write_text(
        '{"step": 1, "epoch": 0, "loss": 5.5}\n{"step": 2, "epoch": 0, "loss": 5.0}\n'
    )
    (out / f"seed-{seed}" / "curated").mkdir(exist_ok=True)
    counts = {"recipe": recipe, "languages": {"en": 30, "de": 10}, "concepts": {"1f408": 30, "1f415": 10}}
    write_json(out / f"seed-{seed}" / "curated" / f"{recipe}.json", counts)


@pytest.fixture
def results(parameters, tmp_path):
    names = read_names(parameters)
    gallery = read_gallery(parameters, set(names["en"]))
    (tmp_path / "seed-0" / "world").mkdir(parents=True)  # the page shows pictures of the first seed
    write_world(parameters, gallery, names, tmp_path / "seed-0" / "world", pictures=60, seed=0)
    for seed in range(SEEDS):
        write_run(tmp_path, "t_per_language", seed, 5)
        write_run(tmp_path, "merged", seed, 2)
    claims = [
        Claim(name="first", better="t_per_language", worse="merged", measure="macro"),
        Claim(name="second", better="merged", worse="t_per_language", measure="english"),
        Claim(name="third", better="t_per_language", worse="raw", measure="macro"),
    ]
    return parameters.model_copy(update={"claims": claims}), tmp_path


def test_figures_equal_those_of_the_results(results):
    world, out = results
    write_report(world, SCALE, out)
    found = json.loads((out / "results.json").read_bytes())
    by_arm = {row["arm"]: row for row in found["arms"]}
    assert by_arm["t_per_language"]["macro"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert by_arm["merged"]["english"]["mean"] == pytest.approx(0.4)
    assert by_arm["merged"]["english_share"] == 0.75
    assert by_arm["merged"]["pairs"] == 40
    assert by_arm["merged"]["image_to_text_recall@1"] == 0.5
    assert found["chance"] == 0.2
    verdicts = {row["claim"]: (row["verdict"], row["seeds"]) for row in found["claims"]}
    assert verdicts == {"first": ("reproduced", 3), "second": ("not reproduced", 3), "third": ("not run", 0)}
    assert found["claims"][0]["difference"]["mean"] == pytest.approx(0.6)


def test_the_page_shows_every_claim_arm_and_language_and_loads_nothing(results):
    world, out = results
    page = write_report(world, SCALE, out).read_text(encoding="utf-8")
    assert all(f'<th scope="row">{claim.name}</th>' in page for claim in world.claims)
    assert read_arm("merged").title in page
    assert "1f408" in page
    assert page.count("data:image/jpeg;base64,") == 24 + 10
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "40.0" in page


def test_a_repeated_run_is_no_seed_of_its_own(results):
    _, out = results
    runs = out / "seed-0" / "runs"
    (runs / "merged-tiny-again").mkdir()
    (runs / "merged-tiny-again" / "result.json").write_bytes((runs / "merged-tiny" / "result.json").read_bytes())
    assert [(run.arm, run.seed) for run in read_results(out)] == [
        (arm, seed) for arm in ("merged", "t_per_language") for seed in range(SEEDS)
    ]
