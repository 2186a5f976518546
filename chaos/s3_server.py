"""Run an S3 server (SeaweedFS) on the loopback interface, with a bucket `lake`. It can be killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from chaos.ports import HOST, free_ports

BUCKET = "lake"
KEYS = {"AWS_ACCESS_KEY_ID": "loopback", "AWS_SECRET_ACCESS_KEY": "loopback-secret", "AWS_REGION": "us-east-1"}
PORTS = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
OPTIONS = ("-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false")
WAIT_S = 60.0
STARTS = 3  # another process may take a port between the search and the start


class S3Server:
    """A server whose objects are in a folder; the end of a `with` block stops it.

    Attributes:
        environment: the variables with which clients find it and sign their requests.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for _ in range(STARTS):
            self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
            self.environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://{HOST}:{self._ports['s3.port']}"}
            self.start()
            if self._answers(lambda client: client.create_bucket(Bucket=BUCKET)):
                return
            self.kill()
        raise OSError(f"the S3 server did not start: see {folder / 'log'}")

    def start(self) -> None:
        """Start the server, on the same ports as before."""
        weed = Path(sys.executable).with_name("weed")
        command = [str(weed), "mini", f"-dir={self._folder}", f"-ip={HOST}", f"-ip.bind={HOST}", *OPTIONS]
        command += [f"-{name}={port}" for name, port in self._ports.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **KEYS})

    def wait(self) -> None:
        """Return when the server answers. Raises OSError if it does not."""
        if not self._answers(lambda client: client.list_objects_v2(Bucket=BUCKET, MaxKeys=1)):
            raise OSError(f"the S3 server does not answer: see {self._folder / 'log'}")

    def kill(self) -> None:
        """End the server at once (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def _answers(self, ask: Callable[[Any], object]) -> bool:
        """Return whether a request succeeds within a minute, while the server runs."""
        once = Config(retries={"max_attempts": 1}, connect_timeout=1, read_timeout=5)
        client = boto3.client(
            "s3",
            config=once,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(Exception):
                ask(client)
                return True
            time.sleep(0.5)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
