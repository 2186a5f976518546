"""The drop reasons in docs/operations.md are those that the code counts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from curation.dedup.duplicates import DROP_REASONS
from curation.images import decode, fetch
from curation.images.codec import video_frames
from curation.images.filters.apply import FAILED
from curation.images.filters.uniformity import LowEntropy, NearUniform
from curation.images.refs.roots import REFUSED
from curation.readers import robots
from jobs.tasks.models.text_image import TextImageScore

ROOT = Path(__file__).resolve().parents[2]
FILTERS = {NearUniform.name, LowEntropy.name, TextImageScore.name, FAILED}
PERSONAL = {"email", "card", "phone"}  # steps made from their kind
UNUSABLE = {"not_text", "empty_text", "no_reference"}  # of values that give no occurrence


def documented():
    """Return the reasons in the tables of the section, by stage; ingest's have no column of stages."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## Drop reasons\n")[2].partition("\n## ")[0]
    reasons, header = {}, []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if "reason" in cells:
            header = cells
        elif cells and not cells[0].startswith("---"):
            row = dict(zip(header, cells, strict=True))
            names = re.findall(r"`(\w+)`", row["reason"])
            listed = reasons.setdefault(row.get("stage", "ingest"), [])
            listed += names
    return reasons


def trees(*patterns):
    return [ast.parse(path.read_text(encoding="utf-8")) for each in patterns for path in sorted(ROOT.glob(each))]


def texts_given_to(names, *patterns):
    """Return the constant strings among the arguments of calls of functions, methods or classes with these names."""
    return {
        value.value
        for tree in trees(*patterns)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in names
        for argument in call.args
        for value in ([argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument])
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }


def keys_of_drops(*patterns):
    """Return the constant keys of the dictionaries that are assigned to `drops`."""
    return {
        key.value
        for tree in trees(*patterns)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["drops"]
        for value in [node.value]
        if isinstance(value, ast.Dict)
        for key in value.keys
        if isinstance(key, ast.Constant)
    }


def test_no_reason_is_listed_twice():
    for stage, reasons in documented().items():
        assert len(reasons) == len(set(reasons)), stage


def test_the_reasons_of_ingest_are_listed():
    counted = texts_given_to(
        {"Keep", "drop", "UrlError"}, "curation/urls.py", "curation/filters/*.py", "curation/readers/*.py",
        "jobs/tasks/ingest/*.py",
    )  # fmt: skip
    assert {"too_short", "seen_image", "scheme"} <= counted
    assert set(documented()["ingest"]) == counted | set(robots.DIRECTIVES) | PERSONAL | UNUSABLE | {REFUSED}


def test_the_reasons_of_failed_images_are_listed():
    assert set(documented()["images"]) == fetch.REASONS | decode.REASONS | FILTERS | {"http_404"}


def test_the_reasons_of_annotations_are_listed():
    assert set(documented()["annotate"]) == video_frames.REASONS


def test_the_reasons_of_the_other_stages_are_listed():
    reasons = documented()
    listed = {reason for stage in ("all", "match", "balance", "shards") for reason in reasons[stage]}
    counted = keys_of_drops(
        "jobs/match.py", "jobs/balance.py", "jobs/fetch_images.py", "jobs/tasks/images/shards_stage.py"
    )
    assert listed == counted | set(DROP_REASONS.values())
