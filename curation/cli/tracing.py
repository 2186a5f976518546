"""Traces of OpenTelemetry: a span per job and per set of tasks, if the environment names a collector.

The standard variables configure it: `OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318` turns it on. Without them
nothing is imported. It needs the extra `trace`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

log = logging.getLogger(__name__)

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "worldcurate"


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """Record the block as a span, which is in the one around it; an error that leaves the block is its status."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    with tracer.start_as_current_span(name, attributes=attributes):
        yield


@cache
def _tracer() -> Any:
    """Return the tracer of this process, which sends its spans in the background; None if there is no collector."""
    if not any(os.environ.get(name) for name in VARIABLES):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT: traces are not sent: pip install 'worldcurate[trace]'")
        return None
    service = os.environ.get("OTEL_SERVICE_NAME", SERVICE)
    provider = TracerProvider(resource=Resource.create({"service.name": service}))  # it sends the rest at exit
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer(SERVICE)
