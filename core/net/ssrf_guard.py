"""The guard against server-side request forgery (SSRF): decides which hosts callers' URLs may reach.

A name is resolved once. All its addresses must be on the public internet or in a network that the operator allows, and
the connection uses only these addresses. A second look-up could return other addresses (DNS rebinding), so there is
none. Sources: IANA's special-purpose address registries, RFC 6890, RFC 6052, OWASP's SSRF cheat sheet.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from core.errors import FetchBlocked, FetchFailed, FetchRefused
from core.net.urls import DEFAULT_PORTS, Address
from core.settings import FetchSettings

Resolver = Callable[[str, int], Sequence[str]]
"""(host name, port) -> IP addresses as text. Raises OSError, as `socket.getaddrinfo` does, if there are none."""

# Python's `is_global` is not used: it changed between patch releases (gh-113171) and treats multicast and relay
# addresses as global.
_BLOCKED_V4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared address space; Alibaba's metadata service lives here
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent: a public address that is served inside the network
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
_GLOBAL_V6 = IPv6Network("2000::/3")  # the only IPv6 range that is allocated for global unicast
_BLOCKED_V6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments, including Teredo
        "2001:db8::/32",
        "2002::/16",  # 6to4: embeds an IPv4 address, possibly a private one
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")

_BLOCKED = (
    "The address may not be fetched: its host is not on the public internet, "
    "and not in a network that the operator allows (ENRICH_FETCH__ALLOW_NETWORKS)."
)
_NO_SUCH_HOST = "There is no host with this name: check the address."
_LOOKUP_FAILED = "The host name could not be resolved."


@dataclass(frozen=True)
class Target:
    """An approved destination. Connections may go only to `ips`; `host` is for the Host header, SNI and certificate."""

    scheme: str
    host: str
    port: int
    ips: tuple[str, ...]


def resolve_host(host: str, port: int) -> list[str]:
    """Returns all IP addresses of a name, in the system's order. Only the system resolver's own timeout applies."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(ip: IPv4Address | IPv6Address) -> bool:
    """Whether the address is on the public internet. An embedded IPv4 address is checked, too."""
    if isinstance(ip, IPv4Address):
        return not any(ip in net for net in _BLOCKED_V4)
    if ip.ipv4_mapped is not None:
        return is_public(ip.ipv4_mapped)
    if ip in _NAT64:  # returned by DNS64 on networks without IPv4
        return is_public(IPv4Address(int(ip) & 0xFFFF_FFFF))
    return ip in _GLOBAL_V6 and not any(ip in net for net in _BLOCKED_V6)


def scheme_blocked(scheme: str, allowed: Collection[str]) -> FetchBlocked:
    """Returns the error for an address whose scheme is not among those that the operator allows."""
    names = ", ".join(sorted(allowed)) or "no scheme at all"
    return FetchBlocked(
        f"Addresses with the scheme {scheme} may not be fetched: "
        f"the operator of this service allows {names} (ENRICH_FETCH__SCHEMES)."
    )


class Guard:
    """Approves destinations by the rules of `FetchSettings`. Stateless, so threads can share it."""

    def __init__(self, settings: FetchSettings, resolve: Resolver = resolve_host) -> None:
        self._schemes = frozenset(settings.schemes)
        self._ports = frozenset(settings.ports)
        self._allowed = tuple(ip_network(net, strict=False) for net in settings.allow_networks)
        self._resolve = resolve

    def approve(self, address: Address) -> Target:
        """Resolves an http or https address and checks its scheme, port and IP addresses.

        Raises FetchBlocked (terminal), FetchRefused (no such host) or FetchFailed (the look-up failed, retryable).
        Messages never contain the resolved IP addresses.
        """
        if address.scheme not in DEFAULT_PORTS or address.scheme not in self._schemes:
            raise scheme_blocked(address.scheme, self._schemes)
        ips = self._look_up(address)
        is_allowed_network = all(self._is_allowed(ip) for ip in ips)
        if not is_allowed_network and self._ports and address.port not in self._ports:
            raise FetchBlocked(
                f"Port {address.port} is not allowed (ENRICH_FETCH__PORTS): serve the image on a standard web port."
            )
        if not all(self._is_allowed(ip) or is_public(ip) for ip in ips):
            raise FetchBlocked(_BLOCKED)
        return Target(address.scheme, address.host, address.port, tuple(str(ip) for ip in ips))

    def _is_allowed(self, ip: IPv4Address | IPv6Address) -> bool:
        plain = ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
        return any(plain in net for net in self._allowed)

    def _look_up(self, address: Address) -> list[IPv4Address | IPv6Address]:
        try:
            return [ip_address(address.host)]  # already an IP address
        except ValueError:
            pass
        try:
            ips = [ip_address(text) for text in self._resolve(address.host, address.port)]
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                raise FetchRefused(_NO_SUCH_HOST) from None
            raise FetchFailed(_LOOKUP_FAILED) from None
        except (OSError, ValueError):  # ValueError: the name or a resolver's answer is malformed
            raise FetchFailed(_LOOKUP_FAILED) from None
        if not ips:
            raise FetchRefused(_NO_SUCH_HOST)
        return ips
