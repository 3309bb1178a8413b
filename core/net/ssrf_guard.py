"""Which addresses may be asked: the wall between callers' addresses and our own network (SSRF).

A name is resolved once; every address it has must be on the public internet, or in a network that the operator has
allowed, and the connection then goes to exactly these addresses. A second look-up could answer differently (DNS
rebinding), so there is none. Sources: IANA's special-purpose address registries, RFC 6890, RFC 6052, OWASP's sheet.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from core.errors import FetchBlocked, FetchFailed, FetchRefused
from core.net.urls import DEFAULT_PORTS, Address
from core.settings import FetchSettings

Resolver = Callable[[str, int], Sequence[str]]
"""(host name, port) -> addresses as text. Raises OSError (as `socket.getaddrinfo` does) when there are none."""

# Our own list beside Python's `is_global`: that one's view changed between patch releases (gh-113171), and it takes
# multicast and relays for global.
_CLOSED_V4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared address space; Alibaba's metadata service lives here
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent: a public address that is answered from inside
        "169.254.0.0/16",  # link-local; the metadata service of AWS, Azure and Google
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_OPEN_V6 = IPv6Network("2000::/3")  # the only part of IPv6 that is handed out for use on the internet
_CLOSED_V6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries an IPv4 address, possibly a private one
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")

_BLOCKED = "This address may not be fetched: it does not lead to a host on the public internet."


@dataclass(frozen=True)
class Target:
    """An approved destination: connect to one of `ips`, and to nothing else, in the name of `host`."""

    scheme: str
    host: str
    port: int
    ips: tuple[str, ...]


def resolve_host(host: str, port: int) -> list[str]:
    """All addresses of a name, in the system's order. How long a look-up may take is the system resolver's limit."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(ip: IPv4Address | IPv6Address) -> bool:
    """Whether the address belongs to the public internet, also when it carries an IPv4 address inside."""
    if isinstance(ip, IPv4Address):
        return not any(ip in net for net in _CLOSED_V4)
    if ip.ipv4_mapped is not None:
        return is_public(ip.ipv4_mapped)
    if ip in _NAT64:  # what DNS64 answers on networks without IPv4
        return is_public(IPv4Address(int(ip) & 0xFFFF_FFFF))
    return ip in _OPEN_V6 and not any(ip in net for net in _CLOSED_V6)


class Guard:
    """Approves destinations by the operator's settings. Holds no state; safe to share between threads."""

    def __init__(self, settings: FetchSettings, resolve: Resolver = resolve_host) -> None:
        self._schemes = frozenset(settings.schemes)
        self._ports = frozenset(settings.ports)
        self._allowed = tuple(ip_network(net, strict=False) for net in settings.allow_networks)
        self._resolve = resolve

    def approve(self, address: Address) -> Target:
        """Resolve an http or https address and check everything about it.

        Raises FetchBlocked (terminal), FetchRefused (no such host) or FetchFailed (the look-up failed, retryable).
        The messages never say what the name resolved to.
        """
        if address.scheme not in DEFAULT_PORTS or address.scheme not in self._schemes:
            raise FetchBlocked(f"Addresses with the scheme {address.scheme} may not be fetched here.")
        ips = self._look_up(address)
        is_inside = all(self._is_allowed(ip) for ip in ips)
        if not is_inside and self._ports and address.port not in self._ports:
            raise FetchBlocked(f"Port {address.port} may not be asked: serve the picture on a usual web port.")
        if not all(self._is_allowed(ip) or is_public(ip) for ip in ips):
            raise FetchBlocked(_BLOCKED)
        return Target(address.scheme, address.host, address.port, tuple(str(ip) for ip in ips))

    def _is_allowed(self, ip: IPv4Address | IPv6Address) -> bool:
        plain = ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
        return any(plain in net for net in self._allowed)

    def _look_up(self, address: Address) -> list[IPv4Address | IPv6Address]:
        try:
            return [ip_address(address.host)]  # already an address: nothing to look up
        except ValueError:
            pass
        try:
            ips = [ip_address(text) for text in self._resolve(address.host, address.port)]
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                raise FetchRefused("There is no host of this name: check the address.") from None
            raise FetchFailed("The name of the host could not be looked up.") from None
        except (OSError, ValueError):  # ValueError: a name or an answer that is no address at all
            raise FetchFailed("The name of the host could not be looked up.") from None
        if not ips:
            raise FetchRefused("There is no host of this name: check the address.")
        return ips
