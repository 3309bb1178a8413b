"""What is this machine and nobody else: the rule for a service that asks for no key."""

from __future__ import annotations

import ipaddress

from core.startup_errors import StartError


def is_loopback(host: str) -> bool:
    """Whether the name or IP address means this very machine, whatever a DNS server says."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_exposure(host: str, *, require_key: bool) -> None:
    """Raises StartError when a service that asks for no key would listen where others can reach it."""
    if not require_key and not is_loopback(host):
        raise StartError(
            f"Without keys the service listens on this machine only, not on {host}: set ENRICH_API__REQUIRE_KEY=true "
            "and make a key with `enrich keys create`, or listen on 127.0.0.1."
        )
