"""Redaction of secrets in log lines, as the last line of defence.

This project's own events never contain keys or query strings. The texts of libraries and exceptions may, and a caller
may send a key in the wrong place, such as in a path.
"""

from __future__ import annotations

import re

from structlog.typing import EventDict, WrappedLogger

REPLACEMENT = "***"

# Repetitions are bounded, so that a long path of a caller does not take quadratic time.
_SECRETS = (
    # API keys. The public id is kept, to identify the key.
    (re.compile(r"(enrich_[0-9a-f]{12}_)[0-9a-f]+"), rf"\1{REPLACEMENT}"),
    # Query strings, above all of presigned URLs.
    (re.compile(r"(\b\w[\w+.-]{0,20}://[^\s\"'<>?\\]{0,4096}\?)[^\s\"'<>\\]+"), rf"\1{REPLACEMENT}"),
    (
        re.compile(
            r"(?i)([?&;][\w.%-]{0,64}(?:sig|token|key|secret|credential|password)[\w.%-]{0,64}=)[^\s&;\"'<>\\]+"
        ),
        rf"\1{REPLACEMENT}",
    ),
    # Passwords in URLs.
    (re.compile(r"(\b\w[\w+.-]{0,20}://[^\s\"'<>/?#@:\\]{0,200}:)[^\s\"'<>/@\\]+(?=@)"), rf"\1{REPLACEMENT}"),
    (re.compile(r"(?i)(\bBearer\s+)[\w.~+/=-]+"), rf"\1{REPLACEMENT}"),
)


def redact_secrets(line: str) -> str:
    """Returns the line with everything that looks like a secret replaced."""
    for pattern, replacement in _SECRETS:
        line = pattern.sub(replacement, line)
    return line


def redact_event(_: WrappedLogger, __: str, line: EventDict | str) -> str:
    """Applies `redact_secrets` to a rendered line, as a structlog processor."""
    return redact_secrets(str(line))
