"""Measure one loader in a process of its own: `python loader_peers.py NAME FOLDER WORKERS [--encoded]`; prints JSON.

With 0 workers it only makes the format of the loader.

NAME is webdataset, litdata, streaming, or stateful: how torchdata's StatefulDataLoader resumes. They run in an
environment of their own; `bench_loader.py` starts this script and shares `measure` with it. FOLDER has the pictures as
WebDataset tars, from which the other formats are made.
"""

from __future__ import annotations

import importlib.machinery
import io
import json
import multiprocessing
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

SIZE, BATCH = 224, 256
ENCODED = "--encoded" in sys.argv
TICK = os.sysconf("SC_CLK_TCK")


def measure(start: Callable[[], Iterable[Any]]) -> dict[str, float]:
    """Read a loader to its end; CPU time is that of this process and its workers after the first batch.

    `first_s` is the time from the start of this process, whose imports count, to the first batch; `loader_s` is its
    part after the imports.
    """
    began = time.perf_counter()
    batches = iter(start())
    count = len(next(batches)[0])
    times = {"first_s": _age(), "loader_s": time.perf_counter() - began}
    began, before, seen = time.perf_counter(), _cpu(), 0
    cpu = dict(before)  # a worker that has ended keeps its last value
    memory: dict[str, float] = {}
    for number, batch in enumerate(batches):
        seen += len(batch[0])
        cpu |= _cpu()
        if number % 8 == 0:  # it takes milliseconds
            memory = {key: max(value, memory.get(key, 0)) for key, value in _memory().items()}
    wall = time.perf_counter() - began
    spent = max(1 / TICK, sum(cpu.values()) - sum(before.values()))  # the clock of processes has no shorter time
    return {"samples": count + seen, **times, "per_s": seen / wall, "cpu_us": spent / seen * 1e6, **memory}


def _age() -> float:
    """Return the seconds since this process was started."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / TICK
    return float(Path("/proc/uptime").read_text().split()[0]) - started


def _processes() -> list[int]:
    workers = [child.pid for child in multiprocessing.active_children() if "Worker" in repr(child) or child.daemon]
    return [pid for pid in workers if pid is not None and Path(f"/proc/{pid}/stat").exists()]


def _cpu() -> dict[int, float]:
    """Return the CPU seconds of this process and of each worker."""
    pids = (os.getpid(), *_processes())
    stats = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids}
    return {pid: (int(stat[11]) + int(stat[12])) / TICK for pid, stat in stats.items()}


def _memory() -> dict[str, float]:
    """Return the peak memory of a worker, and now its proportional share (PSS) and its private memory, in MB."""
    peaks, shares, private = [], [], []
    for pid in _processes() or [os.getpid()]:
        status = Path(f"/proc/{pid}/status").read_text()
        peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1e3)
        rollup = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
        shares.append(sum(int(line[1]) for line in rollup if line[0] == "Pss:") / 1e3)
        private.append(sum(int(line[1]) for line in rollup if line[0].startswith("Private_")) / 1e3)
    return {"peak_mb": max(peaks), "pss_mb": max(shares), "private_mb": max(private)}


def samples(folder: Path) -> Iterator[tuple[bytes, str]]:
    """Yield the pictures and captions of the tars."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = iter(tar)
            for picture in members:
                image, text = tar.extractfile(picture), tar.extractfile(next(members))
                assert image is not None
                assert text is not None
                yield image.read(), text.read().decode()


def transform(data: bytes) -> Any:
    """Decode, crop and resize with Pillow, as the examples of these projects do; or return the bytes."""
    if ENCODED:
        return data
    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB")
    rng = np.random.default_rng()
    w, h = (int(side * rng.uniform(0.95, 1)) for side in image.size)
    left, top = int(rng.integers(0, image.width - w + 1)), int(rng.integers(0, image.height - h + 1))
    box = (left, top, left + w, top + h)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))


def collate(rows: list[tuple[Any, str]]) -> tuple[Any, list[str]]:
    """Stack pictures to one uint8 tensor."""
    if ENCODED:
        return [image for image, _ in rows], [text for _, text in rows]
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([image for image, _ in rows])), [text for _, text in rows]


def _collate_rows(rows: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    return collate([(transform(row["image"]), row["text"]) for row in rows])


def webdataset(folder: Path, workers: int) -> Iterable[Any]:
    """Read the tars with a shuffle buffer of 2,000 samples."""
    import webdataset as wds
    from torch.utils.data import DataLoader

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    data = wds.WebDataset(urls, shardshuffle=100, nodesplitter=None).shuffle(2000).to_tuple("jpg", "txt")
    pairs = data.map_tuple(transform, bytes.decode)
    return DataLoader(pairs, batch_size=BATCH, num_workers=workers, collate_fn=collate)


def _row(row: tuple[bytes, str]) -> dict[str, Any]:
    return {"image": row[0], "text": row[1]}


def litdata(folder: Path, workers: int) -> Iterable[Any]:
    """Read chunks of 64 MB, shuffled."""
    import litdata as ld

    if not (folder / "litdata").exists():
        ld.optimize(_row, list(samples(folder)), str(folder / "litdata"), num_workers=1, chunk_bytes="64MB")

    data = ld.StreamingDataset(str(folder / "litdata"), shuffle=True)
    return ld.StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=_collate_rows)


def streaming(folder: Path, workers: int) -> Iterable[Any]:
    """Read MDS shards of 64 MB, shuffled."""
    from torch.utils.data import DataLoader

    _stub_torchvision()
    import streaming as mds

    if not (folder / "mds").exists():
        columns = {"image": "bytes", "text": "str"}
        with mds.MDSWriter(out=str(folder / "mds"), columns=columns, size_limit=64 << 20) as writer:
            for image, text in samples(folder):
                writer.write({"image": image, "text": text})

    data = mds.StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=BATCH)
    return DataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=_collate_rows)


def stateful(folder: Path) -> dict[str, float]:
    """Return the seconds until the first batch at half of a lake's rows; those before it are read again."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    data = rows_of_files(sorted((folder / "lake/shards").rglob("*.parquet")))
    loader = StatefulDataLoader(data, batch_size=BATCH, num_workers=1, collate_fn=list)
    for _ in zip(range(len(data) // 2 // BATCH), loader, strict=False):
        pass
    state = loader.state_dict()
    began = time.perf_counter()
    resumed = StatefulDataLoader(data, batch_size=BATCH, num_workers=1, collate_fn=list)
    resumed.load_state_dict(state)
    next(iter(resumed))
    return {"loader_s": time.perf_counter() - began}


def rows_of_files(paths: list[Path]) -> Any:
    """Return an iterable dataset of the encoded images and texts of Parquet files."""
    import pyarrow.parquet as pq
    from torch.utils.data import IterableDataset

    class Rows(IterableDataset[tuple[bytes, str]]):
        def __len__(self) -> int:
            return sum(pq.read_metadata(path).num_rows for path in paths)

        def __iter__(self) -> Iterator[tuple[bytes, str]]:
            for path in paths:
                with pq.ParquetFile(path) as file:
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group, columns=["image", "text"])
                        yield from zip(table["image"].to_pylist(), table["text"].to_pylist(), strict=True)

    return Rows()


def _stub_torchvision() -> None:
    """Let streaming import torchvision, of which it uses nothing here and which needs the same build of torch."""
    for name in ("", ".transforms", ".transforms.functional", ".datasets", ".transforms.v2"):
        module: Any = mock.MagicMock()
        module.__spec__, module.__path__ = importlib.machinery.ModuleSpec(f"torchvision{name}", None), []
        module.VisionDataset = type("VisionDataset", (), {})
        sys.modules[f"torchvision{name}"] = module


if __name__ == "__main__":
    loaders = {"webdataset": webdataset, "litdata": litdata, "streaming": streaming}
    name, place, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if name == "stateful":
        print(json.dumps(stateful(place)))
        sys.exit()
    if number:
        print(json.dumps(measure(lambda: loaders[name](place, number))))
    else:
        loaders[name](place, 0)
