"""Secrets planted in config, arguments, environment and URLs reach neither the lake nor any output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import jobs
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.runs import digest
from jobs.runtime.stage import Publication, StageRun
from support.loopback import Answer, file_server, serving
from support.nights import NIGHT, TEXTS, picture, publish_metadata

ROOT = Path(jobs.__file__).parents[1]
# Runs several jobs in one process, as their modules would be run, so that Spark starts once.
RUN = """
import json, sys
from jobs.runtime.job import main
print(json.dumps([main(f"jobs.{job}", arguments) for job, arguments in json.loads(sys.argv[1])]))
"""


def planted(where: str) -> str:
    return f"pl4nt/{where}+0"  # not the same when it is percent-encoded


def signed(url: str, where: str) -> str:
    return f"{url}?X-Amz-Algorithm=AWS4&X-Amz-Credential=AK1&X-Amz-Signature={quote(planted(where), safe='')}"


def config_of(lake: Path, inputs: list[str]) -> dict:
    conf = {
        "spark.hadoop.fs.s3a.secret.key": planted("conf"),
        "spark.executorEnv.MY_PASSWORD": planted("executor"),
        "spark.driver.extraJavaOptions": f"-Djavax.net.ssl.trustStorePassword={planted('java')}",
        "spark.hadoop.dfs.url": f"jdbc:postgresql://h/db?user=u&password={planted('jdbc')}",
    }
    keys = {"format": "parquet", "image_column": "pixels", "text_columns": ["text"], "bucket_bytes": 4000}
    return {
        **NIGHT,
        "lake": str(lake),
        "batch": "b1",
        "max_failed_inputs": 0.9,
        "ingest": {"inputs": inputs, **keys, "retries": 1, "backoff_s": 0.01, "timeout_s": 5},
        "balance": {"policy": "none"},
        "storage": {"endpoint_url": f"https://user:{quote(planted('endpoint'), safe='')}@127.0.0.1:1"},
        "spark": {"master": "local[2]", "conf": conf},
    }


def everything_in(folder: Path) -> dict[str, str]:
    """The text of every file below a folder; tables with their values as text."""
    texts = {}
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            text += str(pq.read_table(path, partitioning=None).to_pylist())
        elif path.suffix == ".arrow":
            text += str(pa.ipc.open_file(path).read_all().to_pylist())
        texts[str(path)] = text
    return texts


def leaks(texts: dict[str, str]) -> list[str]:
    return [name for name, text in texts.items() for form in ("pl4nt/", "pl4nt%2F", "pl4nt%2f") if form in text]


@pytest.mark.spark
def test_no_planted_secret_is_stored_or_printed(tmp_path):
    rows = pa.table({"text": TEXTS, "pixels": [picture(number) for number in range(len(TEXTS))]})
    pq.write_table(rows, tmp_path / "good.parquet")
    data = (tmp_path / "good.parquet").read_bytes()
    files = file_server({"/good.parquet": data, "/damaged.parquet": data[:-9]})
    lake = tmp_path / "lake"
    publish_metadata(Context(Config(lake=str(lake), batch="b1"), "test"))
    with serving(lambda request: Answer(503) if "busy" in request.path else files(request)) as server:
        listed = [signed(f"{server.url}/{name}.parquet", name) for name in ("damaged", "missing", "busy")]
        (tmp_path / "more.paths").write_text("\n".join(listed))
        config = config_of(lake, [signed(f"{server.url}/good.parquet", "good"), str(tmp_path / "more.paths")])
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        gone = signed(f"{server.url}/gone.parquet", "argument")
        value = f"https://u:{quote(planted('value'), safe='')}@h/"
        work = [
            ("nightly", []),
            ("ingest", ["--batch", "b2", "--max_failed_inputs", "0"]),
            ("ingest", ["--batch", "b3", "--ingest.inputs", gone]),
            ("ingest", ["--spark.api_token", planted("unknown"), f"--my_password={planted('flag')}"]),
            ("ingest", ["--ingest.max_texts_per_image", value]),
        ]
        work = [(job, ["--config", str(tmp_path / "config.yaml"), *arguments]) for job, arguments in work]
        environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": planted("env"), "HF_TOKEN": planted("hub")}
        command = [sys.executable, "-c", RUN, json.dumps(work)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 3, 3, 2, 2], done.stderr[-4000:]
    assert leaks({"stderr": done.stderr, "stdout": done.stdout}) == []
    assert done.stderr.count("REDACTED") > 5
    texts = everything_in(lake)
    assert leaks(texts) == []
    made = Context(Config(lake=str(lake), batch="b1"), "test").lake
    assert len(made.rows("ledger")) == 8  # of the failed runs too
    tables = [pq.read_table(file.path, partitioning=None) for file in made.snapshot("images").files]
    # the signature in the config opens what references name without it
    assert {status for table in tables for status in table["status"].to_pylist()} == {"ok"}


def test_a_run_stores_the_config_of_a_lake_without_secrets_as_it_is(tmp_path):
    config = Config(lake=str(tmp_path), create=True, batch="b1", spark={"conf": {"spark.executor.memory": "4g"}})
    files = [["/data/a=1/key=2.parquet", 5, "5-9"], ["https://h/a?versionId=3", 1, "x"]]
    row = stored(config, {"files": files})
    assert row["config"] == config.model_dump_json()
    assert json.loads(row["inputs"])["files"] == files


def test_the_fingerprint_is_that_of_the_unredacted_inputs(tmp_path):
    inputs = {"files": [[signed("https://h.example/a", "print"), 5, "x"]]}
    config = Config(lake=str(tmp_path), create=True, batch="b1", spark={"conf": {"a.secret": planted("conf")}})
    row = stored(config, inputs)
    assert row["fingerprint"] == digest({"stage": "ingest", "semantic": {}, "inputs": inputs})
    assert leaks({"row": str(row), **everything_in(tmp_path)}) == []


def stored(config: Config, inputs: dict) -> dict:
    """Publish an empty run with these inputs and return its row."""
    context = Context(config, "test")
    run = StageRun("ingest", context.lake, config, fingerprint_keys={}, inputs=inputs, outputs={}, batch="b1")
    note = f"at https://u:{quote(planted('totals'), safe='')}@h/"
    run.publish(Publication({}, totals={"note": note}))
    return context.lake.rows("runs").to_pylist()[0]
