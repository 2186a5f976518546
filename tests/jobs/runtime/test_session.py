"""How a Spark session is set up, without starting one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

from jobs.runtime import session


def test_sockets_have_names_that_every_system_allows(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    folder = session.unix_sockets()["spark.python.unix.domain.socket.dir"]
    assert Path(folder).is_dir()
    assert len(f"{folder}/.00000000-0000-0000-0000-000000000000.sock") <= 103
    longest = "/" + "t" * session.MAX_TEMP_FOLDER
    assert len(f"{longest[:-1]}{folder.removeprefix('/tmp')}/.00000000-0000-0000-0000-000000000000.sock") <= 103
    monkeypatch.setattr(tempfile, "tempdir", longest)
    assert session.unix_sockets() == {}


def test_the_jvm_is_silenced_even_if_the_interrupted_connection_is_used_first():
    levels = []

    def set_level(level):
        levels.append(level)
        if len(levels) == 1:
            raise OSError("the connection is gone")

    session.silence(SimpleNamespace(sparkContext=SimpleNamespace(setLogLevel=set_level)))
    assert levels == ["OFF", "OFF"]
