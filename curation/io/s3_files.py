"""Objects on S3: data files through pyarrow, inputs as resumable streams, small writes and listing through boto3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.fs

from curation.io.backend import ArrowBackend, FileStat
from curation.io.paths import split_s3
from curation.io.remote_file import open_remote, stat_remote
from curation.io.retry import RetryPolicy
from curation.io.s3_input import open_patiently
from curation.io.s3_requests import (
    ATTEMPTS,
    CONNECT_TIMEOUT_S,
    DEADLINE_S,
    POLICY,
    REQUEST_TIMEOUT_S,
    attempts,
    request,
    status_of,
)
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
            anonymous=self.anonymous,
            endpoint_override=address,
            region=self.region,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            **options,
        )

    def delta_options(self) -> dict[str, str]:
        """Return the same options as `deltalake` names them."""
        options = {"region": self.region, "conditional_put": "etag", "max_retries": str(ATTEMPTS - 1)}
        options |= {"timeout": f"{REQUEST_TIMEOUT_S:g}s", "retry_timeout": f"{DEADLINE_S:g}s"}
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
        return self._make_client(POLICY.timeout_s)

    @cached_property
    def _source(self) -> S3Source:
        return S3Source(self._make_client(self._policy.timeout_s))

    def _make_client(self, timeout_s: float) -> Any:
        """Return a client that makes one attempt per request: `retry` resumes where the last one stopped."""
        once = {"retries": {"total_max_attempts": 1}, "read_timeout": timeout_s, "connect_timeout": CONNECT_TIMEOUT_S}
        return self._options.make_client(**once)

    def open_input(self, path: str) -> Any:
        """Open an object for random access."""
        return open_patiently(path, partial(super().open_input, path))

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
        after: dict[str, str] = {}
        while True:
            ask = partial(self._client.list_objects_v2, Bucket=bucket, Prefix=folder, **after)
            page = request(prefix, ask, "list")
            for item in page.get("Contents", []):
                if item["Key"].endswith("/") or item["Key"].rpartition("/")[2].startswith("."):
                    continue  # the placeholder of an empty folder, or a hidden file
                yield FileStat(f"s3://{bucket}/{item['Key']}", int(item["Size"]), item["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    @contextmanager
    def open_atomic(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a new object; S3 shows it when its upload is complete. After an error, it is deleted at once."""
        sink = self.open_output(path)
        try:
            yield sink
        except BaseException:
            sink.close()  # pyarrow cannot abort an upload
            self.delete_file(path)
            raise
        sink.close()

    def sync(self, path: str) -> None:
        """Do nothing: S3 has stored an object when its upload ends."""

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small object, replacing an older one."""
        bucket, key = split_s3(path)
        request(path, partial(self._client.put_object, Bucket=bucket, Key=key, Body=data), "write")

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small object unless it exists (`If-None-Match: *`); return whether this call wrote it.

        If the answer to a write was lost, the object that the next attempt finds is this call's if it has its bytes.
        """
        from botocore.exceptions import ClientError

        bucket, key = split_s3(path)

        def put(may_have_written: bool) -> bool:
            try:
                self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if status_of(error)[0] not in NOT_ABSENT:
                    raise
                return (
                    may_have_written and bytes(self._client.get_object(Bucket=bucket, Key=key)["Body"].read()) == data
                )
            return True

        return attempts(path, put, "write")

    def delete_folder(self, prefix: str) -> int:
        """Delete every object below a prefix that is not hidden; return their number."""
        keys = [split_s3(file.path)[1] for file in self.list_files(prefix)]
        bucket, _ = split_s3(prefix)
        for start in range(0, len(keys), DELETED_AT_ONCE):
            objects = [{"Key": key} for key in keys[start : start + DELETED_AT_ONCE]]
            delete = partial(self._client.delete_objects, Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            request(prefix, delete, "delete")
        return len(keys)
