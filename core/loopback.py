"""Checks that a service without API keys listens on the loopback interface only."""

from __future__ import annotations

import ipaddress

from core.startup_errors import StartError


def is_loopback(host: str) -> bool:
    """Whether the host is `localhost` or a loopback IP address. Names are never resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_exposure(host: str, *, require_key: bool) -> None:
    """Raises StartError if a service without API keys would listen on an address that other machines can reach."""
    if not require_key and not is_loopback(host):
        raise StartError(
            f"Without API keys the service may listen on a loopback address only, not on {host}: set "
            "ENRICH_API__REQUIRE_KEY=true and create a key with `enrich keys create`, or listen on 127.0.0.1."
        )
