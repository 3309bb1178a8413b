"""Accepts requests from this machine only, if the service runs without API keys.

Without keys everyone who reaches the port has full access, and listening on loopback alone is not enough:

- A web page in the user's browser can send requests to loopback. `Origin` and `Sec-Fetch-Site` reveal it.
- It can also use a host name that resolves to 127.0.0.1 (DNS rebinding). `Host` reveals it.
- A proxy or tunnel on this machine can expose the port to the network. The headers that proxies add reveal it.
"""

from __future__ import annotations

import re

from flask import Request

from api.middleware.auth_errors import NotLocal
from core.loopback import is_loopback

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:@/?#\s]+))(?::\d{1,5})?")

FORWARDING_PREFIX = "X-Forwarded-"
FORWARDING_HEADERS = frozenset(
    name.lower()
    for name in (
        "Forwarded", "Via", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Original-Host", "X-Original-URL",
        "X-ProxyUser-Ip", "True-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP", "Fly-Client-IP",
    )
)  # fmt: skip

# `none`: typed by the user, opened from a bookmark or by another program. A page on another port is `same-site`.
ALLOWED_SITES = frozenset({"same-origin", "none"})

ADVICE = "the service runs without API keys; to allow remote access, set ENRICH_API__REQUIRE_KEY=true and create a key"


def check_local(request: Request, *, is_page: bool) -> None:
    """Raises NotLocal unless the request comes from this machine and, if sent by a web page, from our own page.

    Args:
        is_page: whether the request is for a page without data, which other sites may link to.
    """
    host = request.headers.get("Host", "")
    if not _is_local_host(host):
        raise NotLocal(f"only localhost, 127.0.0.1 and [::1] are accepted as Host; {ADVICE}")
    if forwarded := [name for name in request.headers.keys() if _is_forwarding(name)]:  # noqa: SIM118 - not a mapping
        raise NotLocal(f"the request came through a proxy ({forwarded[0]}); {ADVICE}")
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        raise NotLocal(f"requests from other origins are not accepted; {ADVICE}")
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site.lower() not in ALLOWED_SITES and not (is_page and _is_followed_link(request)):
        raise NotLocal(f"requests from other sites are not accepted; {ADVICE}")


def _is_local_host(host: str) -> bool:
    match = _HOST.fullmatch(host)
    return match is not None and is_loopback(match["v6"] or match["name"])


def _is_forwarding(name: str) -> bool:
    return name.lower() in FORWARDING_HEADERS or name.lower().startswith(FORWARDING_PREFIX.lower())


def _is_followed_link(request: Request) -> bool:
    return request.method == "GET" and request.headers.get("Sec-Fetch-Mode", "").lower() == "navigate"
