"""Without keys whoever reaches the port is the owner, so only this machine's own requests may reach a route.

Listening on loopback does not suffice. A page in the user's browser can send requests to it (told by `Origin` and
`Sec-Fetch-Site`), can do so under a name of its own that it points at 127.0.0.1 (DNS rebinding, told by `Host`), and a
proxy or tunnel on this machine can let the whole world in (told by the headers that proxies add).
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

# `none`: typed by the user, from a bookmark, or from another program. A request of another port is `same-site`.
OWN_SITES = frozenset({"same-origin", "none"})

ADVICE = "the service runs without keys; to let others in, set ENRICH_API__REQUIRE_KEY=true and make a key"


def check_local(request: Request, *, is_page: bool) -> None:
    """Raises NotLocal unless the request can only have come from this machine and from our own page, if from a page.

    Args:
        is_page: a page with no data in it is asked for, which a link may lead to from anywhere.
    """
    host = request.headers.get("Host", "")
    if not _is_local_host(host):
        raise NotLocal(f"only localhost, 127.0.0.1 and [::1] are answered as Host; {ADVICE}")
    if forwarded := [name for name in request.headers.keys() if _is_forwarding(name)]:  # noqa: SIM118 - no mapping
        raise NotLocal(f"the request came through a proxy ({forwarded[0]}); {ADVICE}")
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        raise NotLocal(f"pages of other origins may not ask; {ADVICE}")
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site.lower() not in OWN_SITES and not (is_page and _is_followed_link(request)):
        raise NotLocal(f"pages of other sites may not ask; {ADVICE}")


def _is_local_host(host: str) -> bool:
    found = _HOST.fullmatch(host)
    return found is not None and is_loopback(found["v6"] or found["name"])


def _is_forwarding(name: str) -> bool:
    return name.lower() in FORWARDING_HEADERS or name.lower().startswith(FORWARDING_PREFIX.lower())


def _is_followed_link(request: Request) -> bool:
    return request.method == "GET" and request.headers.get("Sec-Fetch-Mode", "").lower() == "navigate"
