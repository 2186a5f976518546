"""The whole demo succeeds for two seeds, and its results are computed from the seed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.io.storage import Storage
from curation.lake.lake import Lake

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["0", "7"])
def demo(request, tmp_path_factory) -> tuple[str, Path, str]:
    """Run the demo; return its seed, folder and standard output."""
    out = tmp_path_factory.mktemp(f"demo-{request.param}") / "demo"
    command = [sys.executable, "-m", "demo.run", "--out", str(out), "--seed", request.param]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return request.param, out, done.stdout


EARLIER_TABLES: dict[str, str] = {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_succeeds_and_every_seed_gives_other_tables(demo):
    seed, out, output = demo
    lake = Lake(str(out / "world" / "lake"), Storage())
    for file in lake.snapshot("thresholds").files:
        rows = pq.read_table(file.path, partitioning=None).to_pylist()
        assert {row["lang"] for row in rows} >= {"en", "zh", "ja", "th", "ar", "he"}
        assert all(0.03 <= row["p"] <= 0.2 for row in rows)
    runs = {(run["stage"], run["batch"]): run for run in lake.rows("runs").to_pylist()}
    for night in lake.batches():
        matched = json.loads(runs["match", night]["totals"])["matched_by_lang"]
        curated = json.loads(runs["balance", night]["totals"])["curated_by_lang"]
        assert curated["en"] < 0.85 * matched["en"]
    for path in ("reports/demo/2024-05-31.html", "reports/demo/2024-06-01.html"):
        assert (out / "world" / "lake" / path).stat().st_size > 10_000
    tables = output[output.index("From the crawl") :]
    assert tables not in EARLIER_TABLES.values()
    EARLIER_TABLES[seed] = tables
