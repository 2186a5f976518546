"""How a Spark session is set up, without starting one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from jobs.runtime import session


def test_sockets_have_names_that_every_system_allows():
    for length, used in ((session.MAX_FOLDER, True), (session.MAX_FOLDER + 1, False)):
        folder = Path("/" + "t" * (length - 1))
        settings = session.temporary_files(folder)
        assert ("spark.python.unix.domain.socket.dir" in settings) == used
        assert len(f"{folder}/.00000000-0000-0000-0000-000000000000.sock") <= 103 or not used


def test_a_folder_with_spaces_is_no_java_option_and_the_variable_of_spark_takes_precedence(monkeypatch):
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    assert session.temporary_files(Path("/tmp/x"))["spark.local.dir"] == "/tmp/x"
    assert session.temporary_files(Path("/tmp/x"))[session.JVM_OPTIONS].endswith(" -Djava.io.tmpdir=/tmp/x")
    assert session.JVM_OPTIONS not in session.temporary_files(Path("/tmp/a b"))
    monkeypatch.setenv("SPARK_LOCAL_DIRS", "/data")
    assert "spark.local.dir" not in session.temporary_files(Path("/tmp/x"))


def test_the_jvm_is_silenced_even_if_the_interrupted_connection_is_used_first():
    levels = []

    def set_level(level):
        levels.append(level)
        if len(levels) == 1:
            raise OSError("the connection is gone")

    session.silence(SimpleNamespace(sparkContext=SimpleNamespace(setLogLevel=set_level)))
    assert levels == ["OFF", "OFF"]


def test_event_logs_go_to_a_folder_that_is_made_or_to_an_address(tmp_path):
    settings = session.event_log(str(tmp_path / "logs" / "a b"))
    assert (tmp_path / "logs" / "a b").is_dir()
    assert settings["spark.eventLog.dir"] == f"file://{tmp_path}/logs/a%20b"
    assert session.event_log("s3://bucket/logs")["spark.eventLog.dir"] == "s3://bucket/logs"
