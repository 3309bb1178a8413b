"""Cookies within one chain of redirects: some hosts serve an image only to those who return their cookie."""

from __future__ import annotations

import http.client
from collections import defaultdict
from http.cookiejar import CookieJar
from types import SimpleNamespace
from typing import cast
from urllib.request import Request

from urllib3 import HTTPHeaderDict

from core.net.urls import Address


class RedirectCookies:
    """Keeps the cookies of one chain; not thread-safe.

    A cookie returns only to the host that set it, even if its `Domain` covers others: without a list of public
    suffixes, `Domain=co.uk` would reach strangers. `Path`, `Secure` and the expiry are respected.
    """

    def __init__(self) -> None:
        # One jar per host. A shared jar would send a cookie without `Domain` to subdomains, too.
        self._jars: defaultdict[str, CookieJar] = defaultdict(CookieJar)

    def store(self, address: Address, headers: HTTPHeaderDict) -> None:
        """Takes over the cookies that the host of the address sets."""
        answer = cast(http.client.HTTPResponse, SimpleNamespace(info=lambda: headers))
        self._jars[address.host].extract_cookies(answer, _request(address))

    def header(self, address: Address) -> str | None:
        """Returns the value of the `Cookie` header for a request to the address."""
        if address.host not in self._jars:
            return None
        request = _request(address)
        self._jars[address.host].add_cookie_header(request)
        return request.get_header("Cookie")


def _request(address: Address) -> Request:
    return Request(str(address))  # noqa: S310 - only describes the request; its scheme is http or https
