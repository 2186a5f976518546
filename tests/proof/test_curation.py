"""Versions of the metadata are known by name, whenever the command was stopped; pictures are counted by concept."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from proof import curation
from proof.settings import read_world

VERSIONS = {"by_language": "v0", "english_for_all": "v1", "merged": "v2"}


class StoppedError(Exception):
    pass


class Jobs:
    """A lake whose jobs write a row in `runs`, unless the same job was done before; it stops after some of them."""

    def __init__(self, limit: int) -> None:
        self.runs: list[dict[str, object]] = []
        self.calls: list[str] = []
        self.limit = limit

    def run_module(self, _log, module, *flags):
        stage = module.removeprefix("jobs.")
        key = (stage, flags[flags.index("--metadata.languages") + 1] if "--metadata.languages" in flags else "")
        self.calls.append(stage)
        if key not in [row["key"] for row in self.runs]:
            version = f"v{len(self.runs)}"
            self.runs.append(
                {"key": key, "stage": stage, "finished": len(self.runs), "totals": json.dumps({"version": version})}
            )
        if len(self.calls) == self.limit:
            raise StoppedError

    def rows(self, _name, where):
        found = [row for row in self.runs if row["stage"] in where["stage"]]
        return pa.table({name: [row[name] for row in found] for name in ("stage", "finished", "totals")})


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_versions_are_right_wherever_the_command_was_stopped(tmp_path, monkeypatch, limit):
    jobs = Jobs(limit)
    monkeypatch.setattr(curation, "run_module", jobs.run_module)

    monkeypatch.setattr(curation, "Lake", lambda *_: jobs)
    seed = curation.Curation(read_world(), tmp_path, 0)
    try:
        seed.prepare()
    except StoppedError:
        jobs.limit = 0
        seed.prepare()
    assert json.loads((tmp_path / "versions.json").read_bytes()) == VERSIONS
    calls = len(jobs.calls)
    seed.prepare()
    assert len(jobs.calls) == calls


def test_the_path_of_a_picture_is_that_of_its_url():
    assert curation.picture_path("http://127.0.0.1:18500/012/0012345.jpg") == "012/0012345.jpg"
