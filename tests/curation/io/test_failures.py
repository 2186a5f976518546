"""A full disk, a full quota and the limit of file sizes end a command with one line that names the file."""

from __future__ import annotations

import errno
import os
import resource

import pyarrow as pa
import pytest

from curation.cli.run import exit_code_of
from curation.errors import StorageFullError, UsageError
from curation.io.failures import named_failure, storage_full
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.parquet import PartitionWriter

SCHEMA = pa.schema([("x", pa.binary())])


@pytest.fixture
def small_files():
    """Files of this process have at most 10,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_partition(folder):
    with PartitionWriter(Storage(), str(folder), "run", 0, SCHEMA) as writer:
        writer.write(pa.table({"x": [os.urandom(50_000)]}, schema=SCHEMA))


def write_buckets(folder):
    table = pa.table({"x": [os.urandom(50_000)]}, schema=SCHEMA)
    shuffle.write_buckets(Storage(), str(folder / "a.arrow"), SCHEMA, [table])


def write_small(folder):
    Storage().write_bytes(str(folder / "a.json"), os.urandom(50_000))


@pytest.mark.parametrize("write", [write_partition, write_buckets, write_small])
def test_every_way_to_write_names_the_file_and_the_limit(tmp_path, small_files, write):
    with pytest.raises(StorageFullError, match=rf"^cannot write {tmp_path}/.*: File too large: raise the limit"):
        write(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_the_exit_code_is_that_of_full_storage(number):
    for error in (OSError(number, "x", "/l/a"), OSError(f"Generic LocalFileSystem error: x (os error {number})")):
        assert exit_code_of(error) == 5
        assert os.strerror(number) in str(storage_full(error))
    with pytest.raises(StorageFullError, match="cannot write /l/b: "), named_failure("write", "/l/b", UsageError):
        raise OSError(number, "x")


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "x"), OSError("x"), ValueError("x"), pa.ArrowInvalid("x")])
def test_other_errors_are_not_about_room(error):
    assert storage_full(error) is None
    assert exit_code_of(error) == 1
