"""The last net for secrets in logs: what looks like one is taken out of the finished line.

Nothing of ours logs a key or a query string. Libraries and exceptions may, whose texts are not ours, and a caller may
put a key where it does not belong, such as into a path.
"""

from __future__ import annotations

import re

from structlog.typing import EventDict, WrappedLogger

MASK = "***"

# Repetitions are bounded: a caller's long path must not cost quadratic time.
_SECRETS = (
    # API keys: the public id stays, to find out which one it was.
    (re.compile(r"(enrich_[0-9a-f]{12}_)[0-9a-f]+"), rf"\1{MASK}"),
    # Query strings, of presigned addresses above all.
    (re.compile(r"(\b\w[\w+.-]{0,20}://[^\s\"'<>?\\]{0,4096}\?)[^\s\"'<>\\]+"), rf"\1{MASK}"),
    (
        re.compile(
            r"(?i)([?&;][\w.%-]{0,64}(?:sig|token|key|secret|credential|password)[\w.%-]{0,64}=)[^\s&;\"'<>\\]+"
        ),
        rf"\1{MASK}",
    ),
    # Passwords of addresses.
    (re.compile(r"(\b\w[\w+.-]{0,20}://[^\s\"'<>/?#@:\\]{0,200}:)[^\s\"'<>/@\\]+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"(?i)(\bBearer\s+)[\w.~+/=-]+"), rf"\1{MASK}"),
)


def masked(line: str) -> str:
    """The line without what looks like a secret."""
    for pattern, replacement in _SECRETS:
        line = pattern.sub(replacement, line)
    return line


def mask_line(_: WrappedLogger, __: str, line: EventDict | str) -> str:
    """structlog's form of `masked`, for after the renderer."""
    return masked(str(line))
