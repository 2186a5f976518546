"""Fixtures every test can ask for: the real data beside the checkout."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from hypothesis import settings

# how long an example takes says how busy the machine is, and nothing of the code
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# many small tensors: threads would wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["support.spark_fixtures", "support.in_process", "support.duplicates", "support.poison"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let one of several processes run all tests with Spark, so that they share a session, and others file by file."""
    if config.getoption("numprocesses", None):
        for item in items:
            group = "spark" if item.get_closest_marker("spark") else str(item.path.relative_to(ROOT))
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `$FIXTURES`, or `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("FIXTURES") or ROOT.parent / "shared" / "data")
    if not (folder / "unpack.sh").exists():
        pytest.skip(f"real data not found: neither $FIXTURES nor {folder} holds unpack.sh")
    return folder


@pytest.fixture(scope="session")
def fixtures_dir(shared_data: Path) -> Path:
    """The real data's archives, unpacked once."""
    done = subprocess.run([str(shared_data / "unpack.sh")], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[str]:
    """A real S3 server (SeaweedFS) on loopback with a bucket `lake`; its endpoint is in the environment."""
    environment = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests-secret", "AWS_REGION": "us-east-1"}
    patch = pytest.MonkeyPatch()
    for key, value in environment.items():
        patch.setenv(key, value)
    try:
        for _ in range(3):  # another process may take a port between the search and the start
            folder = tmp_path_factory.mktemp("s3")
            port, server = start_s3(folder)
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            if creates_bucket(server):
                break
            server.kill()
            server.wait()
        else:
            pytest.fail(f"the S3 server did not come up: {(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        patch.undo()


@pytest.fixture(autouse=True)
def stop_signals_as_before() -> Iterator[None]:
    """Undo what a test leaves of signal handlers: a command that was stopped ignores SIGTERM, and its programs too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Undo what the test's commands set up in the root logger."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def start_s3(folder: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """Start SeaweedFS on free ports; return the port of S3 and the process."""
    names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    weed = Path(sys.executable).with_name("weed")
    command = [str(weed), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "log").open("w") as log:
        return ports["s3.port"], subprocess.Popen(command, stdout=log, stderr=log)


def creates_bucket(server: subprocess.Popen[bytes]) -> bool:
    """Create the bucket `lake` when the server answers; return False if it ends or does not answer for a minute."""
    client = boto3.client("s3", config=Config(retries={"max_attempts": 1}, connect_timeout=1, read_timeout=5))
    for _ in range(120):
        if server.poll() is not None:
            return False
        with contextlib.suppress(Exception):
            client.create_bucket(Bucket="lake")
            return True
        time.sleep(0.5)
    return False


@pytest.fixture(scope="session")
def tls_folder(tmp_path_factory) -> Path:
    """The folder of `certificate`, `cert.pem` in it, which Spark's workers trust."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="session")
def certificate(tls_folder) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody trusts unasked, and its key."""
    folder = tls_folder
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=tester"
    try:
        subprocess.run(
            [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("the program openssl, which makes the certificate, is not installed")
    return folder / "cert.pem", folder / "key.pem"


def free_ports(count: int) -> list[int]:
    """TCP ports nobody listens on now, low enough that the server's own port + 10,000 exists."""
    found: list[int] = []
    for port in itertools.chain(range(20_000 + os.getpid() % 9_000, 30_000), range(20_000, 29_000)):
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket() as other:
            probe.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            found.append(port)
        if len(found) == count:
            break
    return found
