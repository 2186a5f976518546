from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.data.group_cache import UNFINISHED_S, GroupCache

TABLE = pa.table({"image": [b"x" * 1000]})


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path))
    return tmp_path / "row-groups"


def size_of_one(folder) -> int:
    GroupCache(1 << 30).table("first", lambda: TABLE)
    return next(path for path in folder.iterdir() if not path.suffix).stat().st_size


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 4))
def test_the_groups_used_last_are_kept_with_their_records(folder, keys, limit):
    """Records were removed before the files that they describe, so every file was read again."""
    cache = GroupCache(limit * size_of_one(folder))
    for path in folder.iterdir():
        path.unlink()
    used, reads = [], []
    for key in map(str, keys):
        expected = key not in used[-limit:]
        reads.clear()
        assert cache.table(key, lambda: (reads.append(1), TABLE)[1]).equals(TABLE)
        assert bool(reads) == expected
        used = [*(other for other in used if other != key), key]
        files = [path for path in folder.iterdir() if not path.suffix]
        assert len(files) == min(len(used), limit)
        assert all(path.with_suffix(".checked").exists() for path in files)


def test_unfinished_files_of_killed_processes_are_removed_and_young_ones_stay(folder):
    folder.mkdir(parents=True)
    old, young = folder / f".{'a' * 64}.x1", folder / f".{'b' * 64}.x2"
    for path, age in ((old, 2 * UNFINISHED_S), (young, 1)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age, time.time() - age))
    GroupCache(1 << 30).table("key", lambda: TABLE)
    assert not old.exists()
    assert young.exists()
