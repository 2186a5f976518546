"""Objects on S3: data files through pyarrow, inputs as resumable streams, small writes and listing through boto3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.fs

from curation.io.backend import ArrowBackend, FileStat
from curation.io.paths import split_s3
from curation.io.remote_file import open_remote, stat_remote
from curation.io.retry import RetryPolicy
from curation.io.s3_source import S3Source

DELETED_AT_ONCE = 1000  # the most that S3 deletes per request
NOT_ABSENT = frozenset({409, 412})  # answers to a conditional write of an object that exists or is being written


@dataclass(frozen=True)
class S3Options:
    """Where S3 is and how requests are signed; credentials come from the environment, as boto3 reads it."""

    endpoint_url: str | None
    region: str
    anonymous: bool

    @classmethod
    def resolve(cls, endpoint_url: str | None, region: str | None, *, anonymous: bool) -> S3Options:
        """Return options with the values that the environment has for missing ones."""
        region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return cls(endpoint_url or os.environ.get("AWS_ENDPOINT_URL"), region, anonymous)

    def make_client(self, **options: Any) -> Any:
        """Return a boto3 client; `options` are those of botocore's Config."""
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        if self.anonymous:
            options["signature_version"] = UNSIGNED
        config = Config(s3={"addressing_style": "path"} if self.endpoint_url else {}, **options)
        return boto3.client("s3", endpoint_url=self.endpoint_url, region_name=self.region, config=config)

    def make_arrow(self) -> pyarrow.fs.S3FileSystem:
        """Return a pyarrow file system."""
        endpoint = self.endpoint_url or ""
        options = {"scheme": "http"} if endpoint.startswith("http://") else {}
        address = endpoint.split("://", 1)[-1] or None
        return pyarrow.fs.S3FileSystem(
            anonymous=self.anonymous, endpoint_override=address, region=self.region, **options
        )

    def delta_options(self) -> dict[str, str]:
        """Return the same options as `deltalake` names them."""
        options = {"region": self.region, "conditional_put": "etag"}
        if self.endpoint_url:
            options["endpoint_url"] = self.endpoint_url
            options["allow_http"] = str(self.endpoint_url.startswith("http://")).lower()
        if self.anonymous:
            options["skip_signature"] = "true"
        return options


class S3Files(ArrowBackend):
    """The storage back end for `s3://` URIs, for one process."""

    def __init__(self, options: S3Options, retry_policy: RetryPolicy) -> None:
        super().__init__("s3://", options.make_arrow)
        self._options, self._policy = options, retry_policy

    @cached_property
    def _client(self) -> Any:
        return self._options.make_client(retries={"max_attempts": 8, "mode": "standard"})

    @cached_property
    def _source(self) -> S3Source:
        # one attempt per request: `retry` resumes where the last one stopped
        timeout_s = self._policy.timeout_s
        once = {"retries": {"total_max_attempts": 1}, "read_timeout": timeout_s, "connect_timeout": timeout_s}
        return S3Source(self._options.make_client(**once))

    def open_stream(self, file: FileStat) -> BinaryIO:
        """Open an object, of the version that was listed, to be read as it arrives."""
        return open_remote(self._source, file, self._policy)

    def stat(self, path: str) -> FileStat:
        """Return size and ETag of an object."""
        return stat_remote(self._source, path, self._policy)

    def list_files(self, prefix: str) -> Iterator[FileStat]:
        """Yield every object below a prefix that is not hidden, in name order."""
        bucket, key = split_s3(prefix)
        folder = key.rstrip("/") + "/" if key else ""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
            for item in page.get("Contents", []):
                if item["Key"].endswith("/") or item["Key"].rpartition("/")[2].startswith("."):
                    continue  # the placeholder of an empty folder, or a hidden file
                yield FileStat(f"s3://{bucket}/{item['Key']}", int(item["Size"]), item["ETag"].strip('"'))

    @contextmanager
    def open_atomic(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a new object; S3 shows it when its upload is complete."""
        with self.open_output(path) as sink:
            yield sink

    def sync(self, path: str) -> None:
        """Do nothing: S3 has stored an object when its upload ends."""

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small object, replacing an older one."""
        bucket, key = split_s3(path)
        self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small object unless it exists (`If-None-Match: *`); return whether this call wrote it."""
        from botocore.exceptions import ClientError

        bucket, key = split_s3(path)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in NOT_ABSENT:
                return False
            raise
        return True

    def delete_folder(self, prefix: str) -> int:
        """Delete every object below a prefix that is not hidden; return their number."""
        keys = [split_s3(file.path)[1] for file in self.list_files(prefix)]
        bucket, _ = split_s3(prefix)
        for start in range(0, len(keys), DELETED_AT_ONCE):
            objects = [{"Key": key} for key in keys[start : start + DELETED_AT_ONCE]]
            self._client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        return len(keys)
