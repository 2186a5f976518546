"""A web server on many loopback addresses for bench_fetch: photo-like pictures, a delay, and bad hosts.

python benchmarks/image_site.py PORT DELAY_MS    (prints a line when it listens, and ends with its standard input)
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from typing import cast

import numpy as np
from PIL import Image, ImageFilter

PICTURES = 40
HOSTS = 1000
BAD_SHARE = 20  # one host of 20 hangs and one of 20 fails, if the path says so


def pictures() -> list[tuple[str, bytes]]:
    """Return pictures of 800 x 600 pixels as (type, bytes): JPEG of about 60 KB, one PNG and one WebP in 20."""
    made = []
    for number in range(PICTURES):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
            (800, 600), Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 9, (600, 800, 1))
        pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
        image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.7))
        kind = {0: "PNG", 10: "WEBP"}.get(number % 20, "JPEG")
        sink = io.BytesIO()
        (image.resize((200, 150)) if kind == "PNG" else image).save(sink, kind, quality=75)
        made.append((f"image/{kind.lower()}", sink.getvalue()))
    return made


def host(number: int) -> str:
    """Return the address of a host."""
    return f"127.{1 + number // 250}.0.{1 + number % 250}"


def number_of(address: str) -> int:
    """Return the number of the host with an address."""
    _, high, _, low = address.split(".")
    return (int(high) - 1) * 250 + int(low) - 1


class Connection(asyncio.Protocol):
    """Answers requests for `/N` and `/bad/N`; with `bad`, some hosts never answer and some fail."""

    answers: list[bytes]
    delay_s: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note which host is asked."""
        self._transport = cast("asyncio.Transport", transport)
        self._host = number_of(transport.get_extra_info("sockname")[0])
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        """Answer the complete requests after the delay."""
        *requests, self._unread = (self._unread + data).split(b"\r\n\r\n")
        for request in requests:
            path = request.split(b" ", 2)[1]
            if not path.startswith(b"/bad") or self._host % BAD_SHARE > 1:
                answer = self.answers[int(path.rpartition(b"/")[2]) % PICTURES]
            elif self._host % BAD_SHARE == 0:
                return  # hangs
            else:
                answer = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"
            asyncio.get_running_loop().call_later(self.delay_s, self._transport.write, answer)


def end_with_input() -> None:
    """End the process when its standard input does: the one that started it is gone then, however it ended."""
    sys.stdin.buffer.read()
    os._exit(0)


async def main(port: int, delay_ms: float) -> None:
    """Serve until the standard input ends."""
    threading.Thread(target=end_with_input, daemon=True).start()
    heads = "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
    Connection.answers = [heads.format(kind, len(body)).encode() + body for kind, body in pictures()]
    Connection.delay_s = delay_ms / 1000
    server = await asyncio.get_running_loop().create_server(Connection, "0.0.0.0", port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
