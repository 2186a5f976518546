"""Fixtures every test can ask for: the real data beside the checkout."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from chaos.s3_server import S3Server

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
    """A real S3 server (SeaweedFS) on loopback with a bucket `lake`; its endpoint and keys are in the environment."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server.environment["AWS_ENDPOINT_URL"]


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
