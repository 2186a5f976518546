"""Measure the fetcher and the picture work of one task beside img2dataset, on a loopback server of 1,000 hosts.

Both reduce pictures of 800 x 600 pixels to at most 256 and store JPEG of quality 95. Start-up is excluded by measuring
a run of few URLs too and dividing the differences. SSIM compares the stored pictures with a Lanczos reduction. With
`--bad_hosts`, every second run fetches the same URLs while one host in 20 hangs and one in 20 fails; throughput is that
of the pictures that are stored, and ours prints its longest task beside its deadline. Of its CPU time, the share of the
codecs is that of `verify`: checks, decode, resize, encode, hashes (`bench_image_codecs.py` has them alone). img2dataset
runs in an environment of its own: IMG2DATASET names its Python; without it, only ours runs.

    [IMG2DATASET=…/bin/python] python benchmarks/bench_fetch.py [--tiny] [--bad_hosts] [URLS]    (default: 20000)
"""

from __future__ import annotations

import io
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from bench_image_codecs import ssim
from common import ROOT, run, scaled, table
from image_site import HOSTS, PICTURES, host, pictures
from PIL import Image

if "--bad_hosts" in sys.argv:
    os.environ["BAD_HOSTS"] = "1"  # the floors look for it
BAD_HOSTS = "BAD_HOSTS" in os.environ
sys.argv = [argument for argument in sys.argv if argument != "--bad_hosts"]
URLS = scaled(20_000, 300)
FEW = scaled(400, 40)
ROUNDS = scaled(3, 1)
TIMEOUT_S = 2.0
TASK_TIMEOUT_S = 120.0  # of ours, per task of TASK_ROWS URLs
TASK_ROWS = 4096
COMPARED = 11  # pictures whose quality is compared

OURS = """
import resource, sys, time
from collections import Counter
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from curation.images.decode import ImageLimits
from curation.images.download import FetchSettings
from curation.images import rows as rows_module
from curation.images.fetch import Fetcher
from curation.images.rows import fetch_and_verify, verify
codec_s = 0.0
def timed(*given):
    global codec_s
    began = time.thread_time()
    try:
        return verify(*given)
    finally:
        codec_s += time.thread_time() - began
rows_module.verify = timed
urls, out = Path(sys.argv[1]).read_text().split(), Path(sys.argv[3])
timeout_s, task_timeout_s, task_rows = float(sys.argv[2]), float(sys.argv[4]), int(sys.argv[5])
hosts = tuple({url.split("/")[2] for url in urls})
reasons, longest = Counter(), 0.0
out.mkdir()
with Fetcher(FetchSettings(timeout_s=timeout_s, task_timeout_s=task_timeout_s, allow_private_hosts=hosts)) as fetcher:
    for start in range(0, len(urls), task_rows):
        rows, began = [(url, url, None) for url in urls[start : start + task_rows]], time.monotonic()
        fetched = list(fetch_and_verify(rows, fetcher, ImageLimits()))
        longest = max(longest, time.monotonic() - began)
        reasons.update(row["reason"] for row in fetched)
        stored = {"url": [row["image_id"] for row in fetched], "jpg": [row["image"] for row in fetched]}
        pq.write_table(pa.table(stored), out / f"{start}.parquet")
(out / "limits").write_text(f"{longest} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024} {codec_s}")
print(reasons, file=sys.stderr)
"""
THEIRS = """
import sys
from img2dataset import download
download(url_list=sys.argv[1], output_folder=sys.argv[3], output_format="parquet", input_format="txt", image_size=256,
         resize_mode="keep_ratio_largest", resize_only_if_bigger=True, encode_quality=95, processes_count=1,
         thread_count=128, timeout=float(sys.argv[2]), number_sample_per_shard=10000, enable_wandb=False, retries=2)
"""


@dataclass(frozen=True)
class Run:
    """A process: CPU seconds with its children, seconds; of ours the longest task, peak MB and CPU seconds of codecs.

    Also how many pictures it stored, and some of them by number.
    """

    cpu: float
    seconds: float
    longest: float
    peak: float
    codecs: float
    stored: int
    pictures: dict[int, bytes]


@contextmanager
def serving(delay_ms: float) -> Iterator[int]:
    """Run the server and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "benchmarks" / "image_site.py"), str(port), str(delay_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield port
        finally:
            server.kill()


def measure(python: str, script: str, urls: list[str]) -> Run:
    """Fetch some URLs in a process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        listed, out = Path(folder, "urls.txt"), Path(folder, "out")
        listed.write_text("\n".join(urls))
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [python, "-c", script, str(listed), str(TIMEOUT_S), str(out), str(TASK_TIMEOUT_S), str(TASK_ROWS)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        limits = (out / "limits").read_text() if (out / "limits").exists() else "0 0 0"
        longest, peak, codecs = map(float, limits.split())
        return Run(cpu, seconds, longest, peak, codecs, *read_stored(out))


def read_stored(folder: Path) -> tuple[int, dict[int, bytes]]:
    """Return how many pictures are stored, and those whose quality is compared by number: a PNG, a WebP and JPEGs."""
    number, stored = 0, dict[int, bytes]()
    for path in folder.glob("*.parquet"):
        rows = [row for row in pq.read_table(path, columns=["url", "jpg"]).to_pylist() if row["jpg"]]
        number += len(rows)
        stored |= {int(row["url"].rpartition("/")[2]) % PICTURES: row["jpg"] for row in rows}
    return number, {number: stored[number] for number in range(COMPARED) if number in stored}


def similarity(stored: dict[int, bytes]) -> float:
    """Return the mean SSIM of stored pictures against a Lanczos reduction of the originals."""
    originals = pictures()
    return statistics.mean(
        ssim(np.asarray(image), np.asarray(original.resize(image.size, Image.Resampling.LANCZOS)))
        for image, original in ((_opened(data), _opened(originals[number][1])) for number, data in stored.items())
    )


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def measured(python: str, script: str, port: int, total: int, prefix: str) -> tuple[float, float, Run, Run]:
    """Return the stored pictures per CPU second and per second, without start-up, and the runs of few and all URLs."""
    urls = [f"http://{host(n % HOSTS)}:{port}{prefix}/{n}" for n in range(total)]
    few, whole = measure(python, script, urls[-FEW:]), measure(python, script, urls)
    stored = whole.stored - few.stored
    return stored / (whole.cpu - few.cpu), stored / (whole.seconds - few.seconds), few, whole


def main() -> None:
    """Measure and print."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else URLS
    ways = {"ours": (sys.executable, OURS)}
    if peer := os.environ.get("IMG2DATASET"):
        ways["img2dataset"] = (peer, THEIRS)
    cells, speeds = [], dict[tuple[int, str, str], tuple[float, float]]()
    for delay_ms in (0, 100):
        with serving(delay_ms) as port:
            kinds = [(bad, name) for bad in (("", "/bad") if BAD_HOSTS else ("",)) for name in ways]
            taken: dict[tuple[str, str], list[tuple[float, float, Run, Run]]] = {kind: [] for kind in kinds}
            for _ in range(ROUNDS):
                for bad, name in kinds:
                    taken[bad, name].append(measured(*ways[name], port, total, bad))
        for (bad, name), rounds in taken.items():
            cpu, wall = (statistics.median(values) for values in list(zip(*rounds, strict=True))[:2])
            speeds[delay_ms, name, bad] = cpu, wall
            share = f"{wall / speeds[delay_ms, name, ''][1]:.0%}"
            longest = max(run.longest for *_, run in rounds)
            deadline = f"{longest:.1f} of {TASK_TIMEOUT_S:.0f} s" if longest else ""
            small, large = (statistics.median(run.peak for run in runs) for runs in list(zip(*rounds, strict=True))[2:])
            peaks = f"{small:.0f} and {large:.0f} MB" if large else ""
            quality = f"{similarity(rounds[-1][3].pictures):.4f}"
            codecs = statistics.median((run.codecs - few.codecs) / (run.cpu - few.cpu) for *_, few, run in rounds)
            codec_share = f"{codecs:.0%}" if codecs else ""
            hosts = "5% hang, 5% fail" if bad else "good"
            speed = [f"{cpu:.0f}", f"{wall:.0f}", share]
            cells.append([f"{delay_ms} ms", hosts, name, *speed, deadline, peaks, codec_share, quality])
    columns = [
        "latency", "hosts", "program", "pictures per CPU second", "per second", "of clean", "longest task",
        f"peak of {FEW} URLs and of all", "codecs", "SSIM",
    ]  # fmt: skip
    table(f"{total} URLs", columns, cells, name="fetch", ratios=compared(speeds))


def compared(speeds: dict[tuple[int, str, str], tuple[float, float]]) -> dict[str, float]:
    """Return the ratios that have a floor, of speeds (per CPU second, per second) by latency, program and hosts."""
    ratios = {}
    for (delay, name, bad), theirs in speeds.items():
        ours = speeds[delay, "ours", ""]
        if name == "ours" and bad:
            ratios[f"{delay} ms, with bad hosts"] = theirs[1] / ours[1]
        elif name != "ours" and not bad:
            ratios[f"{delay} ms, per CPU second"] = ours[0] / theirs[0]
            ratios[f"{delay} ms, per second"] = ours[1] / theirs[1]
    return ratios


if __name__ == "__main__":
    run(main)
