"""Local folders, S3 prefixes and files on http(s) servers behind one small class.

A location is a path, an `s3://bucket/key` URI or, for reading alone, an http(s) URL. Data files are read and written
through `pyarrow.fs`, inputs read as streams that survive a bad network (`curation.io.remote_file`); listing, small
atomic objects and conditional writes go through boto3 on S3 and through `os.link`/`os.replace` on a local disk. A
`Storage` holds only options, so it travels to Spark workers and opens its clients there, on first use.
"""

from __future__ import annotations

import fnmatch
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.fs

from curation.errors import InputError, UsageError, WorldcurateError
from curation.io.http_source import HttpSource
from curation.io.remote_file import RemoteFile
from curation.io.retry import RetryPolicy, retry
from curation.io.s3_source import S3Source

GLOB = frozenset("*?[")


@dataclass(frozen=True)
class FileStat:
    """One stored file: where it is, its size in bytes and a tag that changes with its content.

    The tag is S3's or HTTP's ETag, or size and modification time of a local file. Without a tag nothing is known of the
    file but its place: it could not be looked at.
    """

    path: str
    size: int
    etag: str


@dataclass(frozen=True)
class Storage:
    """Opens, lists and atomically writes files, local or on S3.

    Credentials come from the environment as boto3 reads it (`AWS_ACCESS_KEY_ID` …); `endpoint_url` and `region`
    from the config. `anonymous` reads public buckets unsigned; `retry_policy` applies to inputs on servers.
    """

    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool = False
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # as this process resolves them: a worker's environment may lack the variables
        resolved = {"endpoint_url": self._endpoint, "region": self._region}
        return {**resolved, "anonymous": self.anonymous, "retry_policy": self.retry_policy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _clients={})

    @cached_property
    def _region(self) -> str:
        return self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"

    @cached_property
    def _endpoint(self) -> str | None:
        return self.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")

    def _s3(self) -> Any:
        """Return this process's boto3 client; a fork must not share its parent's connections."""
        return self._client("boto3", lambda: self._make_s3(retries={"max_attempts": 8, "mode": "standard"}))

    def _s3_files(self) -> S3Source:
        timeout_s = self.retry_policy.timeout_s  # tries again on its own, from where it was
        options = {"retries": {"total_max_attempts": 1}, "read_timeout": timeout_s, "connect_timeout": timeout_s}
        client = self._client("boto3-once", lambda: self._make_s3(**options))
        return S3Source(client)

    def _http_files(self) -> HttpSource:
        return cast("HttpSource", self._client("http", lambda: HttpSource(self.retry_policy.timeout_s)))

    def _client(self, kind: str, make: Callable[[], Any]) -> Any:
        key = f"{kind}-{os.getpid()}"
        if key not in self._clients:
            self._clients[key] = make()
        return self._clients[key]

    def _make_s3(self, **options: Any) -> Any:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        if self.anonymous:
            options["signature_version"] = UNSIGNED
        config = Config(s3={"addressing_style": "path"} if self._endpoint else {}, **options)
        return boto3.client("s3", endpoint_url=self._endpoint, region_name=self._region, config=config)

    def filesystem(self, path: str) -> pyarrow.fs.FileSystem:
        """Return the pyarrow file system that holds `path`."""
        if is_http(path):
            raise UsageError(f"{path} can only be read: name a folder or s3://bucket/prefix")
        if not is_s3(path):
            return pyarrow.fs.LocalFileSystem()
        endpoint = self._endpoint or ""
        options = {"scheme": "http"} if endpoint.startswith("http://") else {}
        place = {"endpoint_override": endpoint.split("://", 1)[-1] or None, "region": self._region}
        return self._client("arrow", lambda: pyarrow.fs.S3FileSystem(anonymous=self.anonymous, **place, **options))

    def delta_options(self) -> dict[str, str]:
        """Return the options by which `deltalake` reaches the same S3."""
        options = {"region": self._region, "conditional_put": "etag"}
        if self._endpoint:
            options["endpoint_url"] = self._endpoint
            options["allow_http"] = str(self._endpoint.startswith("http://")).lower()
        if self.anonymous:
            options["skip_signature"] = "true"
        return options

    # Reading

    def open_input(self, path: str) -> Any:
        """Open a file for random access. Raises InputError when it is missing or cannot be read."""
        if is_http(path):
            return self.open_stream(self.stat(path))
        with named_failure("read", path):
            return self.filesystem(path).open_input_file(key_of(path))

    def open_stream(self, file: FileStat) -> BinaryIO:
        """Open an input, of the version that was listed, to be read as it arrives; it can be sought in too.

        Raises InputError when it is missing, has changed or cannot be read, on opening or later.
        """
        if not is_s3(file.path) and not is_http(file.path):
            return cast("BinaryIO", self.open_input(file.path))
        if not file.etag:  # it could not be looked at before
            file = self.stat(file.path)
        files = self._s3_files() if is_s3(file.path) else self._http_files()
        open_at = partial(files.open_at, file.path, size=file.size, tag=file.etag)
        return cast("BinaryIO", RemoteFile(file.path, file.size, open_at, self.retry_policy))

    def read_bytes(self, path: str) -> bytes:
        """Return a whole small file. Raises InputError when it is missing or cannot be read."""
        with self.open_input(path) as source:
            return bytes(source.read())

    def exists(self, path: str) -> bool:
        """Tell whether a file (not a folder) of this name is there."""
        with named_failure("read", path):
            info = self.filesystem(path).get_file_info(key_of(path))
        return bool(info.type == pyarrow.fs.FileType.File)

    def stat(self, path: str) -> FileStat:
        """Return size and tag of one file. Raises InputError when it is missing or cannot be read."""
        with named_failure("read", path):
            if is_s3(path) or is_http(path):
                files = self._s3_files() if is_s3(path) else self._http_files()
                return FileStat(path, *retry(path, self.retry_policy, lambda: files.stat(path)))
            return _local_stat(Path(path))

    def list_files(self, prefix: str) -> Iterator[FileStat]:
        """Yield every file below a folder or prefix, in name order; nothing when there is none.

        Hidden files are left out: files being written are hidden until they are whole. Raises InputError when it
        cannot be listed.
        """
        with named_failure("list", prefix):
            yield from self._list_files(prefix)

    def _list_files(self, prefix: str) -> Iterator[FileStat]:
        if is_s3(prefix):
            bucket, key = split_s3(prefix)
            folder = key.rstrip("/") + "/" if key else ""
            for page in self._s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
                for item in page.get("Contents", []):
                    if item["Key"].endswith("/") or item["Key"].rpartition("/")[2].startswith("."):
                        continue  # a console's mark of an empty folder, or a hidden file
                    yield FileStat(f"s3://{bucket}/{item['Key']}", int(item["Size"]), item["ETag"].strip('"'))
            return
        for path in sorted(p for p in Path(prefix).rglob("*") if not p.name.startswith(".") and p.is_file()):
            yield _local_stat(path)

    def expand(self, pattern: str) -> list[FileStat]:
        """Return the files a path, folder or glob names, in name order.

        Raises InputError when it names none or cannot be read.
        """
        pattern = normal(pattern)
        if is_http(pattern):
            return [self.stat(pattern)]
        if not GLOB & set(pattern):
            if self.exists(pattern):
                return [self.stat(pattern)]
            found = list(self.list_files(pattern))
        else:
            fixed = pattern[: min(pattern.index(c) for c in GLOB if c in pattern)]
            # `*` stays inside one path segment, `**` crosses them, as in a shell.
            depth = None if "**" in pattern else pattern.count("/")
            found = [
                stat
                for stat in self.list_files(fixed.rpartition("/")[0] or ".")
                if fnmatch.fnmatchcase(stat.path, pattern.replace("**/", "*").replace("**", "*"))
                and (depth is None or stat.path.count("/") == depth)
            ]
        if not found:
            raise InputError(f"no file matches {pattern}")
        return found

    def expand_all(self, patterns: Sequence[str]) -> list[FileStat]:
        """Return the files that paths, folders and globs name, each once, sorted."""
        found = {file.path: file for pattern in patterns for file in self.expand(pattern)}
        return [found[path] for path in sorted(found)]

    # Writing

    def open_output(self, path: str) -> pa.NativeFile:
        """Open a new data file for writing; a local file's folder is made."""
        if not is_s3(path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        return self.filesystem(path).open_output_stream(key_of(path))

    @contextmanager
    def open_whole(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a new data file that gets its name when the block ends well: nobody sees it before it is whole."""
        if is_s3(path):  # where an upload is seen when it is complete
            with self.open_output(path) as sink:
                yield sink
            return
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with self.open_output(str(temporary)) as sink:
                yield sink
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small file whole or not at all, replacing an older one. Raises UsageError where it may not."""
        with named_failure("write", path, UsageError):
            if is_s3(path):
                bucket, key = split_s3(path)
                self._s3().put_object(Bucket=bucket, Key=key, Body=data)
                return
            temporary = _write_aside(Path(path), data)
            temporary.replace(path)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file only if none of that name exists; tell whether this call wrote it.

        Of several racing writers exactly one wins (S3's `If-None-Match: *`, a hard link on a local disk). Raises
        UsageError where it may not write.
        """
        with named_failure("write", path, UsageError):
            if is_s3(path):
                return self._put_s3_if_absent(path, data)
            temporary = _write_aside(Path(path), data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            return True

    def _put_s3_if_absent(self, path: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        bucket, key = split_s3(path)
        try:
            self._s3().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                return False
            raise
        return True

    def older_files(self, prefix: str, before: datetime) -> list[str]:
        """Return the files below a folder or prefix that were last written before a moment."""
        selector = pyarrow.fs.FileSelector(key_of(prefix), recursive=True, allow_not_found=True)
        with named_failure("list", prefix):
            found = self.filesystem(prefix).get_file_info(selector)
        scheme = "s3://" if is_s3(prefix) else ""
        return [scheme + info.path for info in found if info.is_file and info.mtime < before]

    def delete_files(self, paths: Sequence[str]) -> None:
        """Delete files, as far as they are there."""
        for path in paths:
            with suppress(FileNotFoundError):
                self.filesystem(path).delete_file(key_of(path))

    def delete_folder(self, prefix: str) -> int:
        """Delete every file below a folder or prefix; return how many there were."""
        files = list(self.list_files(prefix))
        if is_s3(prefix):
            bucket, _ = split_s3(prefix)
            for start in range(0, len(files), 1000):
                keys = [{"Key": split_s3(f.path)[1]} for f in files[start : start + 1000]]
                self._s3().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        elif Path(prefix).is_dir():
            pyarrow.fs.LocalFileSystem().delete_dir(prefix)
        return len(files)


@contextmanager
def named_failure(action: str, path: str, kind: type[WorldcurateError] = InputError) -> Iterator[None]:
    """Turn a failure of the disk, the server or the network into one line that names the file."""
    try:
        yield
    except WorldcurateError:
        raise
    except Exception as error:
        ours = isinstance(error, OSError | pa.ArrowException) or type(error).__module__.startswith("botocore")
        if not ours:
            raise
        raise kind(f"cannot {action} {path}: {first_line(error)}") from error


def is_s3(path: str) -> bool:
    """Tell whether a location is on S3."""
    return path.startswith("s3://")


def is_http(path: str) -> bool:
    """Tell whether a location is a file on an http(s) server."""
    return path.startswith(("http://", "https://"))


def split_s3(path: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key. Raises UsageError without a bucket."""
    bucket, _, key = path.removeprefix("s3://").partition("/")
    if not bucket:
        raise UsageError(f"{path} names no bucket: write s3://bucket/prefix")
    return bucket, key


def key_of(path: str) -> str:
    """Return the path as pyarrow's file systems write it."""
    return path.removeprefix("s3://")


def normal(location: str) -> str:
    """Return a location as listings write it: no `./`, no doubled or closing slashes."""
    if is_http(location):
        return location
    if is_s3(location):
        return "s3://" + "/".join(part for part in location.removeprefix("s3://").split("/") if part)
    return os.path.normpath(location)


def join(base: str, *parts: str) -> str:
    """Join path parts with single slashes, local and S3 alike."""
    return "/".join([base.rstrip("/"), *(part.strip("/") for part in parts)])


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, the part a person reads."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _local_stat(path: Path) -> FileStat:
    info = path.stat()
    return FileStat(str(path), info.st_size, f"{info.st_size:x}-{info.st_mtime_ns:x}")


def _write_aside(path: Path, data: bytes) -> Path:
    """Write and sync a temporary file beside `path`, so that linking or renaming it is atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with temporary.open("xb") as sink:
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())
    return temporary
