"""Runs an S3 server (SeaweedFS) on the loopback interface, with a bucket `lake`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
from botocore.config import Config

KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_REGION": "us-east-1"}
PORTS = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
WAIT_S = 60


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Run a server whose endpoint and keys are in the environment."""
    folder.mkdir()
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    os.environ |= KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}"}
    command = [str(Path(sys.executable).with_name("weed")), "mini", f"-dir={folder}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false", "-s3.port.iceberg=0"]
    command += ["-s3.port.lance=0", *(f"-{name}={port}" for name, port in ports.items())]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _create_bucket()
        yield
    finally:
        server.kill()
        server.wait()


def _create_bucket() -> None:
    client = boto3.client("s3", config=Config(retries={"max_attempts": 1}, connect_timeout=1, read_timeout=5))
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with suppress(Exception):
            client.create_bucket(Bucket="lake")
            return
        time.sleep(0.5)
    raise SystemExit("the S3 server did not start")


def _free_ports(count: int) -> list[int]:
    """Return free ports below 30,000, because the server also uses each of its ports + 10,000."""
    found: list[int] = []
    for port in range(20_000 + os.getpid() % 9_000, 30_000):
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            found.append(port)
        if len(found) == count:
            return found
    raise SystemExit("no free ports")
