"""The alert rules and the dashboard ask for metrics that nights write."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from jobs.runtime.context import Context

MONITORING = Path(__file__).resolve().parents[2] / "examples" / "monitoring"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
EXPRESSIONS = [rule["expr"] for rule in RULES] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
SELECTOR = re.compile(r"(worldcurate_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)(=~?)"([^"]*)"')


def written(context: Context) -> list[tuple[str, dict[str, str]]]:
    """The names and labels of the metrics of a night and of gc."""
    found = []
    for path in Path(context.lake.layout.metrics).glob("*.prom"):
        for line in path.read_text().splitlines():
            if not line.startswith("#"):
                name, labels = SELECTOR.match(line).groups()
                found.append((name, {key: value for key, _, value in LABEL.findall(labels)}))
    return found


def test_every_metric_and_label_value_is_one_that_a_night_writes(night_here):
    series = written(night_here)
    stages = {labels["stage"] for _, labels in series}
    for name, labels in [match.groups() for expression in EXPRESSIONS for match in SELECTOR.finditer(expression)]:
        wanted = LABEL.findall(labels or "")
        if ("stage", "=", "nightly") in wanted or ("stage", "=", "gc") in wanted:
            continue  # jobs whose status is written as that of every job
        assert any(
            name == written_name
            and all(
                re.fullmatch(value if sign == "=~" else re.escape(value), found[key]) for key, sign, value in wanted
            )
            for written_name, found in series
        ), (name, labels, stages)


def test_every_alert_says_what_to_do():
    assert len(RULES) >= 5
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "remedy"}


def test_the_dashboard_is_one_that_grafana_imports():
    """What its loader needs: unique panels on a grid of 24 columns, which ask a data source that the reader chooses."""
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= DASHBOARD.keys()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        assert panel["type"] in ("timeseries", "stat")
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_accepts_the_rules_and_they_fire_when_they_should():
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
