"""Read objects on S3: their size and version, and their bytes from any position."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curation.errors import InputError
from curation.io.remote_file import Body, changed
from curation.io.retry import TransientError
from curation.io.s3_requests import passing_failure, status_of

PRECONDITION_FAILED = 412
FORBIDDEN = 403
BLOCK = 64 << 10  # bytes per read: a block that a broken connection interrupts is lost
WRONG_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})


class S3Source:
    """Reads objects through a boto3 client that makes one attempt per call."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def stat(self, uri: str) -> tuple[int, str]:
        """Return size in bytes and ETag. Raises TransientError or InputError."""
        with _transient_failures(uri):
            head = self._client.head_object(**_bucket_and_key(uri))
        return int(head["ContentLength"]), head["ETag"].strip('"')

    def open_at(self, uri: str, position: int, size: int, tag: str) -> Body:  # noqa: ARG002 - as in every source
        """Start reading an object of that size and ETag at a position. Raises TransientError or InputError."""
        ranged = {"Range": f"bytes={position}-"} if position else {}
        with _transient_failures(uri):
            answer = self._client.get_object(**_bucket_and_key(uri), IfMatch=f'"{tag}"', **ranged)
        body = _S3Body(uri, answer["Body"])
        if answer["ETag"].strip('"') != tag:
            body.close()
            raise changed(uri)
        return body


class _S3Body:
    def __init__(self, uri: str, stream: Any) -> None:
        self._uri, self._stream = uri, stream

    def read(self, size: int) -> bytes:
        with _transient_failures(self._uri):
            return bytes(self._stream.read(min(size, BLOCK)))

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _transient_failures(uri: str) -> Iterator[None]:
    """Turn a failure of botocore into a TransientError if another attempt can succeed, else into an InputError."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
    from botocore.exceptions import ConnectionError as NoConnectionError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        status, code = status_of(error)
        if status == PRECONDITION_FAILED:
            raise changed(uri) from error
        throttled = status == FORBIDDEN and code not in WRONG_CREDENTIALS
        if throttled or passing_failure(error):
            raise TransientError(f"the server answers {status} {code}") from error
        raise InputError(f"cannot read {uri}: the server answers {status} {code}") from error
    except (NoConnectionError, HTTPClientError, IncompleteReadError, HTTPError, OSError) as error:
        raise TransientError(str(error) or type(error).__name__) from error
    except BotoCoreError as error:  # no credentials, a bad bucket name
        raise InputError(f"cannot read {uri}: {error}") from error


def _bucket_and_key(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}
