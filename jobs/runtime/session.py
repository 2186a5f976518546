"""Start the Spark session, after a check that Java is installed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from pyspark.sql import SparkSession

from curation.cli.interruption import quiet_py4j
from curation.errors import UsageError
from curation.io.paths import is_s3
from curation.io.process_folder import make_process_folder
from curation.redaction import SECRET_NAMES
from jobs.runtime.config import SparkSection
from jobs.runtime.lost_spark import named_loss

JAVA = 17
ROOT = Path(__file__).resolve().parents[2]
QUIET = {
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.redaction.regex": SECRET_NAMES,  # of its event logs and pages
}
MAX_FOLDER = 60  # characters of the folder of temporary files, of the 103 that socket paths may have
JVM_OPTIONS = "spark.driver.extraJavaOptions"
LOOPBACK = {
    # The JVM only schedules tasks: optimizing its code and running many GC threads would take longer than the work.
    JVM_OPTIONS: "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}


def start(name: str, section: SparkSection) -> SparkSession:
    """Return the active session (spark-submit's, or an earlier step's), or start one as configured.

    Raises UsageError if Java 17 or newer is missing, LostSparkError if the JVM or the cluster fails.
    """
    if running := SparkSession.getActiveSession():
        return running
    check_java()
    # Workers run this interpreter with these packages, not the `python3` on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    search = os.environ.get("PYTHONPATH", "")
    if str(ROOT) not in search.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), search]))
    builder = SparkSession.builder.appName(f"worldcurate {name}")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit sets it, and its settings apply
        builder = builder.master(with_retries(section.master))
        settings = QUIET
        if section.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            settings = QUIET | LOOPBACK | {"spark.python.daemon.module": "jobs.runtime.spark_daemon"}
            settings |= temporary_files(make_process_folder())
        if section.event_log:
            settings |= event_log(section.event_log)
        for key, value in (settings | section.conf).items():
            builder = builder.config(key, value)
    with named_loss():
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
    if threading.current_thread() is threading.main_thread():
        # Spark's own handler calls the JVM from the midst of another call to it, and logs the failure.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return session


def event_log(location: str) -> dict[str, str]:
    """Return settings that write event logs to a folder, which is made if it is local."""
    if not is_s3(location):
        Path(location).mkdir(parents=True, exist_ok=True)
        location = Path(location).absolute().as_uri()
    return {"spark.eventLog.enabled": "true", "spark.eventLog.dir": location, "spark.eventLog.compress": "true"}


def silence(session: SparkSession) -> None:
    """Let the JVM and the connection to it log nothing more, because this process is about to end."""
    quiet_py4j()
    for _ in range(2):  # the connection whose call was interrupted fails once
        with suppress(Exception):
            session.sparkContext.setLogLevel("OFF")
            return


def temporary_files(folder: Path) -> dict[str, str]:
    """Return settings that put all temporary files of Spark and its JVM in a folder: blocks, libraries and sockets.

    Workers and the JVM use Unix sockets there, because over TCP every task waits 40 ms for delayed acknowledgements;
    TCP is used if the folder's path is too long for a socket. The variable SPARK_LOCAL_DIRS takes precedence.
    """
    settings = {"spark.local.dir": str(folder)} if "SPARK_LOCAL_DIRS" not in os.environ else {}
    if not re.search(r"[\s\"']", str(folder)):
        settings[JVM_OPTIONS] = f"{LOOPBACK[JVM_OPTIONS]} -Djava.io.tmpdir={folder}"
    if len(str(folder)) <= MAX_FOLDER:
        settings |= {"spark.python.unix.domain.socket.enabled": "true"}
        settings |= {"spark.python.unix.domain.socket.dir": str(folder)}
    return settings


def with_retries(master: str) -> str:
    """Give a local master the four attempts per task that a cluster makes."""
    master = "local[1]" if master == "local" else master
    return re.sub(r"^local\[([^,\]]+)\]$", r"local[\1,4]", master)


def check_java() -> str:
    """Return the version of Java. Raises UsageError unless it is 17 or newer and can be started."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    how = f"Spark needs Java {JAVA} or newer: install openjdk-17-jre-headless (or newer), or set JAVA_HOME"
    if java is None or not Path(java).exists():
        raise UsageError(f"no Java found{f' at {java}' if java else ''}. {how}")
    command = [java, "-version"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stderr  # noqa: S603 - the user's Java
    version = re.search(r'version "(?:1\.)?(\d+)', output)
    if not version or int(version.group(1)) < JAVA:
        raise UsageError(f"{java} is {version.group(0) if version else 'not a working Java'}. {how}")
    return f"Java {version.group(1)} at {java}"
