"""An HTTP/2 server on the loopback interface, over TLS, whose answers a test writes stream by stream."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, RequestReceived, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError

Respond = Callable[["Stream"], Awaitable[None]]


@dataclass
class Connection:
    """A connection: the paths asked for on it, how many streams are open, and the most that were at once."""

    h2: H2Connection
    writer: asyncio.StreamWriter
    paths: list[str] = field(default_factory=list)
    open_streams: int = 0
    most_streams: int = 0
    window: asyncio.Event = field(default_factory=asyncio.Event)

    async def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()
        await asyncio.sleep(0)  # so that an endless answer lets the others go on

    async def go_away(self) -> None:
        self.h2.close_connection()
        await self.flush()


@dataclass
class Stream:
    """One request, and the ways to answer it; each raises ProtocolError or OSError once the client has gone."""

    connection: Connection
    number: int
    path: str
    headers: dict[str, str]
    sent: int = 0

    async def head(self, status: int = 200, *headers: tuple[str, str], ends: bool = False) -> None:
        self.connection.h2.send_headers(self.number, [(":status", str(status)), *headers], end_stream=ends)
        await self.connection.flush()

    async def data(self, data: bytes, *, ends: bool = False) -> None:
        """Send a part of the body, as fast as the client's windows allow."""
        h2 = self.connection.h2
        while data:
            size = min(len(data), h2.local_flow_control_window(self.number), h2.max_outbound_frame_size)
            if size:
                h2.send_data(self.number, data[:size])
                self.sent += size
                data = data[size:]
                await self.connection.flush()
            else:
                self.connection.window.clear()
                await self.connection.window.wait()
        if ends:
            h2.end_stream(self.number)
            await self.connection.flush()

    async def reset(self, code: int) -> None:
        self.connection.h2.reset_stream(self.number, code)
        await self.connection.flush()


class Http2Server:
    """Answers each path with a coroutine of `answers`; `protocols` are those that it offers by ALPN."""

    def __init__(self, certificate: tuple[Path, Path], protocols: Sequence[str] = ("h2",)) -> None:
        self.answers: dict[str, Respond] = {}
        self.connections: list[Connection] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*certificate)
        self._tls.set_alpn_protocols(list(protocols))
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        async def cancel() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        configuration = H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        connection = Connection(H2Connection(configuration), writer)
        self.connections.append(connection)
        tasks: dict[int, asyncio.Task[None]] = {}
        try:
            connection.h2.initiate_connection()
            await connection.flush()
            while data := await reader.read(65536):
                for event in connection.h2.receive_data(data):
                    if isinstance(event, RequestReceived):
                        tasks[event.stream_id] = asyncio.create_task(self._answer(connection, event))
                    elif isinstance(event, StreamReset):
                        tasks[event.stream_id].cancel()
                    elif isinstance(event, WindowUpdated):
                        connection.window.set()
                    elif isinstance(event, ConnectionTerminated):
                        return
                await connection.flush()
        except (OSError, ProtocolError):
            pass  # the client has gone
        finally:
            for task in tasks.values():
                task.cancel()
            writer.close()

    async def _answer(self, connection: Connection, event: RequestReceived) -> None:
        headers = dict(event.headers)
        stream = Stream(connection, event.stream_id, headers[":path"], headers)
        connection.paths.append(stream.path)
        connection.open_streams += 1
        connection.most_streams = max(connection.most_streams, connection.open_streams)
        try:
            with contextlib.suppress(OSError, ProtocolError):
                await self.answers[stream.path](stream)
        finally:
            connection.open_streams -= 1


@contextlib.contextmanager
def serving_http2(certificate: tuple[Path, Path], protocols: Sequence[str] = ("h2",)) -> Iterator[Http2Server]:
    """Run a server for the duration of a `with` block."""
    server = Http2Server(certificate, protocols)
    try:
        yield server
    finally:
        server.close()
