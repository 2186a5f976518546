"""One request and its response as libcurl reports them: limits of headers and body, and the reason of a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pycurl

from curation.images.failures import FetchError
from curation.io.retry import TransientError

MAX_HEADER_BYTES = 128 << 10  # of all header lines, informational responses and trailers included
MAX_HEADER_LINES = 512
DISCARDED_BYTES = 16 << 10  # an unwanted body up to this size is read, so that its connection can be used again
SWITCHING_PROTOCOLS = 101  # the one informational status that ends HTTP on a connection
STOP = -1  # tells libcurl to end the transfer

FINAL_REASONS = {
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_SSL_CIPHER: "tls",
    pycurl.E_SSL_CERTPROBLEM: "tls",
    pycurl.E_SSL_CACERT_BADFILE: "tls",
    pycurl.E_SSL_INVALIDCERTSTATUS: "tls",
    pycurl.E_URL_MALFORMAT: "bad_url",
    pycurl.E_OUT_OF_MEMORY: "out_of_memory",
}
LOST_IN_HANDSHAKE = ("Recv failure", "Send failure", "SSL_ERROR_SYSCALL", "unexpected eof")  # with E_SSL_CONNECT_ERROR
HTTP2_STREAM = 92  # CURLE_HTTP2_STREAM, which pycurl does not name
CLOSED = frozenset({pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR, pycurl.E_GOT_NOTHING, pycurl.E_HTTP2, HTTP2_STREAM})


@dataclass(frozen=True)
class Response:
    """The final response to a request: its status, its headers in order (names in lower case), its body as received."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Return the values of the headers of a name, which is in lower case."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        """Return the value of the first header of a name, or None."""
        return next(iter(self.all(name)), None)


class Exchange:
    """Collects the parts of a response.

    `wants` decides by status and headers whether its body is read, and `grow` whether there is room for a body of some
    bytes; if not, libcurl pauses the transfer.
    """

    def __init__(self, max_bytes: int, wants: Callable[[Response], bool], grow: Callable[[int], bool]) -> None:
        self._max_bytes, self._wants, self._grow = max_bytes, wants, grow
        self._status, self._headers = 0, list[tuple[str, str]]()
        self._has_head = self._wanted = False
        self._lines = self._header_bytes = self._discarded = 0
        self._body = bytearray()
        self._refused: str | None = None
        self._error: Exception | None = None

    @property
    def has_answer(self) -> bool:
        """Whether any line of a response has arrived, or the transfer was refused."""
        return self._lines > 0 or self._refused is not None

    def refuse(self, reason: str) -> int:
        """Record why the transfer is stopped; the first reason counts."""
        self._refused = self._refused or reason
        return STOP

    def read_header(self, line: bytes) -> int | None:
        """Read a line of the headers or trailers."""
        self._lines += 1
        self._header_bytes += len(line)
        if self._lines > MAX_HEADER_LINES or self._header_bytes > MAX_HEADER_BYTES:
            return self.refuse("bad_response")
        if self._has_head:  # a trailer
            return None
        if line.startswith(b"HTTP/"):
            self._status, self._headers = _status(line), []
        elif line.strip():
            name, _, value = line.decode("latin-1").partition(":")
            self._headers.append((name.strip().lower(), value.strip()))
        elif self._status >= 200 or self._status == SWITCHING_PROTOCOLS:
            return self._end_head()
        return None

    def _end_head(self) -> int | None:
        """Decide whether the body is read."""
        self._has_head = True
        try:
            self._wanted = self._wants(Response(self._status, self._headers))
        except Exception as error:  # libcurl would print it
            self._error = error
            return STOP
        length = dict(self._headers).get("content-length", "")
        declared = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
        if self._wanted and declared > self._max_bytes:
            return self.refuse("too_large")
        return STOP if not self._wanted and declared > DISCARDED_BYTES else None

    def read_body(self, data: bytes) -> int | None:
        """Read a part of the body."""
        if not self._wanted:
            self._discarded += len(data)
            return STOP if self._discarded > DISCARDED_BYTES else None
        if len(self._body) + len(data) > self._max_bytes:
            return self.refuse("too_large")
        if not self._grow(len(self._body) + len(data)):
            return int(pycurl.WRITEFUNC_PAUSE)
        self._body += data
        return None

    def discard(self) -> None:
        """Free the body."""
        self._body = bytearray()

    def result(self, code: int, message: str) -> Response:
        """Return the response when the transfer has ended with a code of libcurl. Raises FetchError, TransientError.

        The body is handed over: an idle handle of libcurl keeps its last exchange.
        """
        body, self._body = self._body, bytearray()
        if self._error:
            raise self._error
        if self._refused:
            raise FetchError(self._refused)
        if self._has_head and (code == pycurl.E_OK or not self._wanted):
            return Response(self._status, self._headers, bytes(body))
        if code == pycurl.E_SSL_CONNECT_ERROR and any(part in message for part in LOST_IN_HANDSHAKE):
            raise TransientError("connection")
        if reason := FINAL_REASONS.get(code):
            raise FetchError(reason)
        if code == pycurl.E_PARTIAL_FILE:
            raise TransientError("incomplete")
        if code in CLOSED | {pycurl.E_COULDNT_CONNECT} and "chunk" not in message:
            raise TransientError("incomplete" if self._has_head else "connection")
        raise FetchError("bad_response")


def _status(line: bytes) -> int:
    """Return the three digits of a status line as a number, or 0."""
    digits = line.split()[1:2]
    return int(digits[0]) if digits and len(digits[0]) == 3 and digits[0].isdigit() else 0
