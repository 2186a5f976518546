"""What a user sees: help, one line for each mistake, and the exit code that tells a scheduler what to do."""

from __future__ import annotations

import gzip
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import jobs
from curation.cli.keys import keys_of
from jobs.runtime import job as runner
from jobs.runtime.config import Config

JOBS = ("build_metadata", "ingest", "match", "balance", "fetch_images", "report", "nightly", "gc", "explain")
ROOT = Path(jobs.__file__).parents[1]


@pytest.fixture
def command(capsys, tmp_path):
    """Run a job in this process; return its exit code and the `error:` line it ended with."""
    handlers = logging.getLogger().handlers[:]

    def run(job: str, *flags: str, config: dict | None = None) -> tuple[int, str]:
        arguments = list(flags)
        if config is not None:
            path = tmp_path / "config.yaml"
            path.write_text(yaml.safe_dump(config))
            arguments = ["--config", str(path), *arguments]
        code = runner.main(f"jobs.{job}", arguments)
        said = capsys.readouterr()
        assert said.out == ""
        errors = [line for line in said.err.splitlines() if line.startswith("error:")]
        assert len(errors) == (code != 0)
        return code, "".join(errors)

    yield run
    logging.getLogger().handlers[:] = handlers


def plain(context) -> dict:
    return context.config.model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize("job", JOBS)
def test_help_describes_the_job_and_every_key(job):
    done = subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert [key for key in keys_of(Config) if f"--{key}" not in done.stdout] == []
    assert "--config" in done.stdout


@pytest.mark.parametrize(
    ("job", "config", "code", "said"),
    [
        ("match", {"lake": "/tmp/x"}, 2, "key `batch` is missing"),
        ("nightly", {"batch": "b"}, 2, "key `ingest.inputs` is missing"),
        ("match", {"batch": "b", "rules": "worldwide"}, 2, "unknown key `rules`"),
        ("balance", {"batch": "b", "balance": {"t_en": "many"}}, 2, "key `balance.t_en`"),
        ("build_metadata", {"metadata": {"languages": ["en", "xx"]}}, 2, "unknown language 'xx'"),
        ("build_metadata", {"metadata": {"limits": {"xx": {}}}}, 2, "'xx'"),
        ("match", {"create": True, "batch": "b", "match": {"lid_model": "/nope.bin"}}, 2, "/nope.bin"),
        ("build_metadata", {"metadata": {"wordnet": ["/nope"]}}, 3, "no file matches /nope"),
        ("ingest", {"create": True, "batch": "b", "ingest": {"inputs": ["/nope/*.gz"]}}, 3, "/nope/*.gz"),
        ("ingest", {"create": True, "batch": "a/b", "ingest": {"inputs": [__file__]}}, 2, "batch"),
        ("report", {"create": True, "batch": "b"}, 3, "b"),
    ],
)
def test_a_mistake_is_one_line_and_its_code_before_spark_starts(command, tmp_path, job, config, code, said):
    found, line = command(job, config={"lake": str(tmp_path / "lake"), **config})
    assert (found, said in line) == (code, True), line


def test_a_wrong_metadata_version_is_refused(command, night):
    context = night()
    code, line = command("match", "--metadata.version", "nope", config=plain(context))
    assert code == 2
    assert "no metadata version 'nope'" in line


def test_match_before_any_metadata_says_what_to_run(command, tmp_path):
    code, line = command("match", "--create", config={"lake": str(tmp_path / "lake"), "batch": "b"})
    assert code == 2
    assert "jobs.build_metadata" in line


def test_a_missing_java_is_named_before_spark_is_tried(night, tmp_path):
    context = night()
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(plain(context)))
    done = subprocess.run(
        [sys.executable, "-m", "jobs.ingest", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAVA_HOME": str(tmp_path / "nowhere")},
    )
    assert done.returncode == 2
    assert "Java 17" in done.stderr.splitlines()[-1]


@pytest.mark.spark
def test_every_job_runs_under_spark_submit(night, tmp_path):
    context = night(images=30, ingest={"bucket_bytes": 1 << 20}, balance={"t_en": 20})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(plain(context)))
    submit = Path(sys.executable).with_name("spark-submit")
    done = subprocess.run(
        [str(submit), "--master", "local[2,4]", str(ROOT / "jobs" / "nightly.py"), "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert context.lake.snapshot("shards").rows > 0
    done = subprocess.run(
        [str(submit), str(ROOT / "jobs" / "match.py"), "--config", str(path), "--metadata.version", "nope"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    assert done.returncode == 2
    assert "error: metadata.version" in done.stdout + done.stderr  # spark-submit prints both on stdout


def wat(*bodies: bytes) -> bytes:
    """A WAT of metadata records, a gzip member each."""
    members = []
    for body in bodies:
        head = f"WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: {len(body)}\r\n\r\n"
        members.append(gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0))
    return b"".join(members)


def page(number: int, alt: str = "a red dog in the garden") -> bytes:
    links = [{"path": "IMG@/src", "url": f"/{number}.jpg", "alt": alt}]
    html = {"HTTP-Response-Metadata": {"HTML-Metadata": {"Links": links}}}
    header = {"WARC-Target-URI": f"http://host{number}/"}
    envelope = {"WARC-Header-Metadata": header, "Payload-Metadata": html}
    return json.dumps({"Envelope": envelope}).encode()


@pytest.mark.spark
class TestBadInput:
    """Bad input of every kind: counted or refused in one line, and the good rows are there."""

    @pytest.fixture
    def ingest(self, command, tmp_path, spark):
        def run(*contents: bytes, **keys) -> tuple[int, str, dict]:
            inputs = []
            for place, content in enumerate(contents):
                inputs.append(tmp_path / f"{place}.warc.wat.gz")
                inputs[-1].write_bytes(content)
            config = {"lake": str(tmp_path / "lake"), "batch": "b", "ingest": {"inputs": [str(p) for p in inputs]}}
            config["create"] = True
            code, line = command("ingest", config={**config, **keys})
            from curation.io.storage import Storage
            from curation.lake.lake import Lake

            lake = Lake(config["lake"], Storage())
            runs = lake.rows("runs").sort_by("finished").to_pylist()
            totals = json.loads(runs[-1]["totals"]) if runs else {}
            return code, line, {**totals, "ledger": lake.rows("ledger").to_pylist()}

        return run

    def test_a_file_of_no_bytes_has_failed(self, ingest):
        code, line, _ = ingest(b"")
        assert code == 3
        assert "the file is empty (0 bytes)" in line

    def test_a_truncated_gzip_keeps_its_good_rows_counts_as_failed_and_is_tried_again(self, ingest):
        whole = wat(*(page(number) for number in range(20)))
        code, line, totals = ingest(whole, whole[: len(whole) // 2])
        assert code == 3
        assert "1 of 2 input files failed" in line
        assert "1.warc.wat.gz" in line
        assert "images" not in totals
        assert sorted(row["status"] for row in totals["ledger"]) == ["ok", "partial"]
        code, line, totals = ingest(whole, whole[: len(whole) // 2], max_failed_inputs=0.5)
        assert (code, totals["images"], totals["files_failed"]) == (0, 20, 1)
        code, line, totals = ingest(whole, wat(page(100)), max_failed_inputs=0.5)
        assert (code, totals["images"], totals["files_failed"]) == (0, 21, 0)

    def test_a_broken_record_costs_one_record(self, ingest):
        code, _, totals = ingest(wat(page(1), b'{"Envelope": {', page(2)))
        assert (code, totals["images"], totals["notes"]["broken_record"]) == (0, 2, 1)

    def test_a_file_of_another_format_has_failed(self, ingest):
        other = wat(b"fetchTimeMs: 12", b"charset: utf-8")
        code, line, totals = ingest(wat(page(1)), other)
        assert (code, totals["ledger"][1]["status"]) == (3, "failed")
        assert "1.warc.wat.gz: none of its 2 records is valid wat: check ingest.format" in line
        code, _, totals = ingest(wat(page(1)), other, max_failed_inputs=0.5)
        assert (code, totals["images"], totals["files_failed"]) == (0, 1, 1)

    def test_invalid_utf8_is_replaced_and_counted(self, ingest):
        code, _, totals = ingest(wat(page(1).replace(b"garden", b"gar\xff\xfeden"), page(2)))
        assert (code, totals["images"], totals["notes"]["invalid_utf8"]) == (0, 2, 1)

    def test_what_is_dropped_is_counted_and_shown_in_the_runs_row(self, ingest):
        code, _, totals = ingest(wat(page(1), page(7, alt="  "), page(5, alt=" ")))
        assert (code, totals["images"]) == (0, 1)
        assert totals["dropped_samples"] == {"empty_text": ["/5.jpg", "/7.jpg"]}

    def test_rows_without_the_named_column_are_refused(self, command, tmp_path):
        path = tmp_path / "rows.jsonl"
        path.write_text('{"href": "http://h/1.jpg", "text": "x"}\n')
        config = {"lake": str(tmp_path / "lake"), "batch": "b", "ingest": {"inputs": [str(path)], "format": "jsonl"}}
        config["create"] = True
        code, line = command("ingest", config=config)
        assert code == 2
        assert "'url'" in line
