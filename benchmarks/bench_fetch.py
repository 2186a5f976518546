"""Measure the fetcher and the picture work on one core's task, beside img2dataset, on a loopback server of 1,000 hosts.

Both reduce pictures of 800 x 600 pixels to at most 256 and store JPEG of quality 95. Start-up is excluded by measuring
a run of few URLs too and dividing the differences. Then the same URLs are fetched while one host in 20 hangs and one
in 20 fails. img2dataset runs in an environment of its own: IMG2DATASET names its Python; without it, only ours runs.

    [IMG2DATASET=…/bin/python] python benchmarks/bench_fetch.py [--tiny] [URLS]    (default: 20000)
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import ROOT, run, scaled, table
from image_site import HOSTS, host

URLS = scaled(20_000, 300)
FEW = scaled(400, 40)
ROUNDS = scaled(3, 1)
TIMEOUT_S = 2.0

OURS = """
import sys
from curation.images.decode import ImageLimits
from curation.images.download import FetchSettings
from curation.images.fetch import Fetcher
from curation.images.rows import fetch_and_verify
from collections import Counter
urls = open(sys.argv[1]).read().split()
hosts = tuple({url.split("/")[2] for url in urls})
settings = FetchSettings(timeout_s=float(sys.argv[2]), allow_private_hosts=hosts)
with Fetcher(settings) as fetcher:
    rows = fetch_and_verify([(str(n), url, None) for n, url in enumerate(urls)], fetcher, ImageLimits())
    print(Counter(row["reason"] for row in rows))
"""
THEIRS = """
import sys
from img2dataset import download
download(url_list=sys.argv[1], output_folder=sys.argv[3], output_format="parquet", input_format="txt", image_size=256,
         resize_mode="keep_ratio_largest", resize_only_if_bigger=True, encode_quality=95, processes_count=1,
         thread_count=128, timeout=float(sys.argv[2]), number_sample_per_shard=10000, enable_wandb=False, retries=2)
"""


@contextmanager
def serving(delay_ms: float) -> Iterator[int]:
    """Run the server and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "benchmarks" / "image_site.py"), str(port), str(delay_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield port
        finally:
            server.kill()


def measure(python: str, script: str, urls: list[str]) -> tuple[float, float]:
    """Return the CPU seconds and the seconds of a process, its children included, that fetches some URLs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "urls.txt")
        listed.write_text("\n".join(urls))
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [python, "-c", script, str(listed), str(TIMEOUT_S), f"{folder}/out"]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - began


def rates(python: str, script: str, port: int, total: int, prefix: str = "") -> tuple[float, float]:
    """Return the URLs per CPU second and per second, without the start-up."""
    urls = [f"http://{host(n % HOSTS)}:{port}{prefix}/{n}" for n in range(total)]
    few_cpu, few_s = measure(python, script, urls[-FEW:])
    cpu, seconds = measure(python, script, urls)
    return (total - FEW) / (cpu - few_cpu), (total - FEW) / (seconds - few_s)


def main() -> None:
    """Measure and print."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else URLS
    ways = {"ours": (sys.executable, OURS)}
    if peer := os.environ.get("IMG2DATASET"):
        ways["img2dataset"] = (peer, THEIRS)
    cells, ratios = [], {}
    for delay_ms in (0, 100):
        with serving(delay_ms) as port:
            for bad in ("", "/bad"):
                taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
                for _ in range(ROUNDS):
                    for name, (python, script) in ways.items():
                        taken[name].append(rates(python, script, port, total, bad))
                for name, rounds in taken.items():
                    per_cpu, per_s = (statistics.median(values) for values in zip(*rounds, strict=True))
                    hosts = "5% hang, 5% fail" if bad else "good"
                    cells.append([f"{delay_ms} ms", hosts, name, f"{per_cpu:.0f}", f"{per_s:.0f}"])
                    ratios[f"{delay_ms} ms, {name}{', bad hosts' if bad else ''}"] = per_s
    columns = ["latency", "hosts", "program", "URLs per CPU second", "URLs per second"]
    kept = {
        f"{delay} ms, with bad hosts": ratios[f"{delay} ms, ours, bad hosts"] / ratios[f"{delay} ms, ours"]
        for delay in (0, 100)
    }
    table(f"{total} URLs", columns, cells, name="fetch", ratios=kept)


if __name__ == "__main__":
    run(main)
