"""How a Spark session is set up, without starting one."""

from __future__ import annotations

import tempfile
from pathlib import Path

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
