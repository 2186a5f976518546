"""Objects on S3 as inputs: what they are (`stat`), and their bytes from any position on (`open_at`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curation.errors import InputError
from curation.io.remote_file import RETRIED, Body, TransientError, changed

PRECONDITION_FAILED = 412
PIECE = 64 << 10  # bytes: of a piece that a broken connection cuts off nothing is kept
WRONG_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})


class S3Files:
    """Asks S3 for objects through a boto3 client that does not try again on its own."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def stat(self, uri: str) -> tuple[int, str]:
        """Return size in bytes and ETag. Raises PassingError or InputError."""
        with _passing(uri):
            head = self._client.head_object(**_place(uri))
        return int(head["ContentLength"]), head["ETag"].strip('"')

    def open_at(self, uri: str, position: int, size: int, tag: str) -> Body:  # noqa: ARG002 - as of every server
        """Begin to read an object of that size and ETag at a position. Raises PassingError or InputError."""
        ranged = {"Range": f"bytes={position}-"} if position else {}
        with _passing(uri):
            answer = self._client.get_object(**_place(uri), IfMatch=f'"{tag}"', **ranged)
        body = _S3Body(uri, answer["Body"])
        if answer["ETag"].strip('"') != tag:
            body.close()
            raise changed(uri)
        return body


class _S3Body:
    def __init__(self, uri: str, stream: Any) -> None:
        self._uri, self._stream = uri, stream

    def read(self, size: int) -> bytes:
        with _passing(self._uri):
            return bytes(self._stream.read(min(size, PIECE)))

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _passing(uri: str) -> Iterator[None]:
    """Turn what botocore raises into a PassingError where it may pass, else into an InputError."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status == PRECONDITION_FAILED:
            raise changed(uri) from error
        if (status in RETRIED and code not in WRONG_CREDENTIALS) or code == "SlowDown":
            raise TransientError(f"the server answers {status} {code}") from error
        raise InputError(f"cannot read {uri}: the server answers {status} {code}") from error
    except (HTTPClientError, IncompleteReadError, HTTPError, OSError) as error:
        raise TransientError(str(error) or type(error).__name__) from error
    except BotoCoreError as error:  # no credentials, a bad bucket name
        raise InputError(f"cannot read {uri}: {error}") from error


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}
