"""Choose free ports of the loopback interface."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now.

    They are below 30,000, because SeaweedFS also uses each of its ports + 10,000, and start at a place that depends on
    the process, so that processes that look at the same time rarely find the same.
    """
    found: list[int] = []
    for port in itertools.chain(range(20_000 + os.getpid() % 9_000, 30_000), range(20_000, 29_000)):
        with suppress(OSError), socket.socket() as probe, socket.socket() as other:
            probe.bind((HOST, port))
            other.bind((HOST, port + 10_000))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports")
