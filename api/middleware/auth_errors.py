"""Errors of authentication, authorization and rate limiting, raised before a route runs.

RequestError (core/errors.py)
├── KeyRequired      401 key_required     no key was sent
├── KeyInvalid       401 key_invalid      unknown, wrong or revoked; deliberately not distinguished
├── ScopeMissing     403 scope_missing
├── NotLocal         403 not_local        keys are not required, and the request may come from another machine
└── RateLimited      429 rate_limited
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.auth.api_keys import Scope
from core.errors import RequestError

REALM = 'Bearer realm="enrich"'


class KeyRequired(RequestError):
    status = 401
    code = "key_required"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": REALM}


class KeyInvalid(RequestError):
    status = 401
    code = "key_invalid"

    @property
    def headers(self) -> Mapping[str, str]:
        # RFC 6750, section 3.1; likewise for the scope below.
        return {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}


class ScopeMissing(RequestError):
    status = 403
    code = "scope_missing"

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"this API key lacks the scope `{scope}`; use a key that has it")
        self.scope = scope

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{self.scope}"'}


class NotLocal(RequestError):
    status = 403
    code = "not_local"


class RateLimited(RequestError):
    status = 429
    code = "rate_limited"
    retryable = True

    def __init__(self, wait_s: float) -> None:
        super().__init__("rate limit exceeded for this API key; retry after the seconds in `Retry-After`")
        self.wait_s = wait_s

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(max(1, math.ceil(self.wait_s)))}
