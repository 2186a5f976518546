"""What a run of ingest would change in a batch that is published: its settings, and the files that it was made from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from curation.cli.ingest_config import IngestSection
from curation.cli.sources import merge
from curation.io.paths import absolute, is_http
from jobs.runtime.freshness import differences, recorded_inputs
from jobs.tasks.ingest.sources import InputFile

NAMED = 3  # files that a message names


def changes_of_batch(
    row: Mapping[str, Any] | None, section: IngestSection, seed: int, files: Sequence[InputFile]
) -> str:
    """Describe how the settings and files of a published batch differ from those of today; empty if rows stay.

    Added or changed files and added sources are not named: a batch may grow, and a file may be repaired. A batch
    without images has nothing to lose.
    """
    if row is None or not json.loads(row["totals"]).get("images"):
        return ""
    config = json.loads(row["config"])
    before, now = config["ingest"], json.loads(json.dumps(section.fingerprint_keys()))
    sources = now.pop("sources", [])
    settings = _differences(before, now)
    for number, (old, new) in enumerate(zip(before.get("sources", []), sources, strict=False)):
        settings += [f"sources.{number}.{change}" for change in _differences(old, new)]
    if config["seed"] != seed:
        settings.append(f"seed {config['seed']} (now {seed})")
    today = {_without_secrets(file.path) for file, _ in files}
    missing = [path for path, *_ in recorded_inputs(row)["files"] if _without_secrets(path) not in today]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        settings.append(f"input files that are not in ingest.inputs now ({', '.join(missing[:NAMED])}{more})")
    return ", ".join(settings)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe the keys that differ; keys that an earlier release did not record had today's default."""
    complete = merge(None, IngestSection().model_dump(mode="json"), before)
    return differences({key: complete[key] for key in now}, now)


def _without_secrets(path: str) -> str:
    """Return an input's path without the parts of a URL that change from run to run: user, password, signature.

    Earlier releases recorded relative paths.
    """
    if not is_http(path):
        return absolute(path)
    return re.sub(r"//[^/@]*@", "//", path.partition("?")[0])
