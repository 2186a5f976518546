"""Which network addresses the fetcher may connect to: those of the public internet, and hosts that are listed.

A URL from a web page may name, or redirect to, a machine inside our own network.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # the whole range assigned to the public internet
CLOUD_SERVICES = frozenset({ipaddress.IPv4Address("168.63.129.16")})  # public range, but inside every Azure network
PROTOCOL_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")  # has a metadata service; not private in every Python
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address in the last 32 bits (RFC 6052, section 2.1)


def is_public(address: str) -> bool:
    """Return whether a numeric IPv4 or IPv6 address belongs to the public internet.

    Private, loopback, link-local, shared, reserved, documentation and multicast addresses are not public, nor are IPv6
    addresses that contain such an IPv4 address (mapped, 6to4, NAT64).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])  # without the zone of a link-local address
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(ip.packed[-4:]) if ip in NAT64 else None
        inner = ip.ipv4_mapped or ip.sixtofour or translated
        if inner is not None:
            return is_public(str(inner))
        return ip in GLOBAL_UNICAST and ip.is_global
    return ip.is_global and not ip.is_multicast and ip not in CLOUD_SERVICES and ip not in PROTOCOL_ASSIGNMENTS


def literal_address(host: str) -> str | None:
    """Return the address that a host spells out, as `127.0.0.1`, `127.1`, `0x7f.1` and `::1` do; None for a name."""
    try:
        if ":" in host:  # in the form of the system, which libcurl uses too
            return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


class AllowedHosts:
    """Hosts whose addresses need not be public: `localhost`, `127.0.0.1:8080`, `[::1]:8080`; with a port, only it."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)

    def usable(self, host: str, port: int, addresses: Sequence[str]) -> list[str]:
        """Return the addresses of a host that may be connected to."""
        name = f"[{host}]" if ":" in host else host.lower().rstrip(".")
        if self._hosts.isdisjoint({host, name, f"{name}:{port}"}):
            return [address for address in addresses if is_public(address)]
        return list(addresses)
