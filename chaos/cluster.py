"""A standalone Spark cluster on the loopback interface: a master and workers, one process each, that can be killed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyspark

from chaos.ports import HOST, free_ports

MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
WAIT_S = 120.0


class Cluster:
    """A master and workers with one core each; the end of a `with` block stops them.

    Args:
        folder: where logs go.
        scratch: where workers and executors keep temporary files.
        environment: variables of workers, which their executors inherit.
        workers: for each worker, the words that come before its command: none, or a program that starts it elsewhere.
        home: the folder of Spark.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        environment: Mapping[str, str],
        workers: Sequence[Sequence[str]] = ((), ()),
        home: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._scratch = folder, scratch
        self._spark_class = (home or Path(pyspark.__file__).parent) / "bin" / "spark-class"
        self._environment = {**os.environ, "SPARK_LOCAL_IP": HOST, **environment}
        self._port, page = free_ports(2)
        self.url = f"spark://{HOST}:{self._port}"
        options = ("--port", str(self._port), "--webui-port", str(page))
        self._before = workers
        self._master = self._start("master", MASTER, *options, before=workers[0])
        self._workers = {number: self._start_worker(number) for number in range(len(workers))}
        try:
            self._wait_for_workers()
        except OSError:
            self.stop()
            raise

    def revive(self) -> None:
        """Start workers that have ended, as the service manager of a machine does."""
        for number, process in self._workers.items():
            if process.poll() is not None:
                self._workers[number] = self._start_worker(number)

    def stop(self) -> None:
        """End all processes; executors end when their worker does."""
        for process in (*self._workers.values(), self._master):
            process.kill()
            process.wait()

    def _start_worker(self, number: int) -> subprocess.Popen[bytes]:
        work = self._scratch / f"worker-{number}"
        (work / "tmp").mkdir(parents=True, exist_ok=True)
        page, *_ = free_ports(1)
        options = ("--cores", "1", "--memory", "1g", "--work-dir", str(work), "--webui-port", str(page))
        variables = {"SPARK_LOCAL_DIRS": str(work / "tmp"), "TMPDIR": str(work / "tmp")}
        before = self._before[number]
        return self._start(f"worker-{number}", WORKER, *options, self.url, before=before, **variables)

    def _start(
        self, name: str, kind: str, *arguments: str, before: Sequence[str] = (), **variables: str
    ) -> subprocess.Popen[bytes]:
        command = [*before, str(self._spark_class), kind, "--host", HOST, *arguments]
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env={**self._environment, **variables})

    def _wait_for_workers(self) -> None:
        """Return when the master knows all workers. Raises OSError if that takes too long."""
        log, until = self._folder / "master.log", time.monotonic() + WAIT_S
        while log.read_text(errors="replace").count("Registering worker") < len(self._workers):
            if time.monotonic() > until or self._master.poll() is not None:
                raise OSError(f"the cluster did not start: see {log}")
            time.sleep(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
