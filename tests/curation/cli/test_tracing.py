"""Spans reach the collector that the environment names, with their parents and errors, and cost nothing without one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from curation.cli import tracing

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
from contextlib import suppress
from curation.cli.tracing import span
with span("nightly", batch="b1"):
    with suppress(ValueError), span("ingest", units=3):
        raise ValueError("no")
print(any(name.startswith("opentelemetry") for name in sys.modules))
"""


def run(**variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_spans_reach_the_collector_before_the_process_ends():
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    bodies = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        assert run(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_COMPRESSION="none") == "True"
    finally:
        server.shutdown()
        server.server_close()
    [(path, body)] = bodies
    assert path == "/v1/traces"
    [resource] = service.ExportTraceServiceRequest.FromString(body).resource_spans
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == "worldcurate"
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    assert spans["ingest"].parent_span_id == spans["nightly"].span_id
    assert spans["ingest"].attributes[0].value.int_value == 3
    assert (spans["ingest"].status.code, spans["nightly"].status.code) == (2, 0)


def test_without_a_collector_nothing_is_imported():
    assert run(OTEL_EXPORTER_OTLP_ENDPOINT="") == "False"


def test_a_missing_extra_is_a_warning(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    tracing._tracer.cache_clear()
    try:
        with tracing.span("ingest"), tracing.span("merge"):
            pass
    finally:
        tracing._tracer.cache_clear()
    [record] = caplog.records
    assert "pip install 'worldcurate[trace]'" in record.getMessage()
