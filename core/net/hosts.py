"""The normal form of an address's host: an ASCII name, a dotted IPv4 address or a bare IPv6 address.

Names are mapped as browsers map them (WHATWG URL, "domain to ASCII"): UTS 46, non-transitional, with `CheckBidi` and
`CheckJoiners` and without `CheckHyphens`. `straße.example` is therefore `xn--strae-oqa.example`, and emoji are allowed.
`idna.encode` follows IDNA 2008 instead and refuses emoji and `r3---sn.example`, so only its parts are used here.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import unquote_to_bytes

import idna

from core.errors import InvalidAddress

MAX_NAME_LENGTH = 253

_PREFIX = "xn--"
_JOINERS = "\u200c\u200d"
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
# Stricter than browsers: what resolvers refuse is refused here, with a sentence.
_LABEL = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NO_NAME = "The address has no valid host name: check its spelling."


def parse_host(text: str) -> str:
    """Returns the normal form of a host as written in an address, IPv6 in brackets. Raises InvalidAddress."""
    if text.startswith("["):
        return _ipv6(text)
    try:
        ascii_host = _to_ascii(unquote_to_bytes(text).decode())
    except (UnicodeError, ValueError):  # idna's errors are UnicodeErrors
        raise InvalidAddress(_NO_NAME) from None
    name = ascii_host.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name) > MAX_NAME_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidAddress(_NO_NAME)
    return ascii_host


def _to_ascii(name: str) -> str:
    """Applies UTS 46's ToASCII. Raises UnicodeError if the name is not valid, InvalidAddress for bad Punycode."""
    labels = [_unicode_label(label) for label in idna.uts46_remap(name, std3_rules=False).split(".")]
    if any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for label in labels for character in label):
        for label in filter(None, labels):
            idna.check_bidi(label, check_ltr=True)
    return ".".join(
        label if label.isascii() else _PREFIX + label.encode("punycode").decode("ascii") for label in labels
    )


def _unicode_label(label: str) -> str:
    """Returns a mapped label with its Punycode decoded, and checks it by UTS 46's validity criteria."""
    if label.startswith(_PREFIX):
        label = _decoded(label)
    if not label.isascii():
        idna.check_initial_combiner(label)
        if not all(idna.valid_contextj(label, at) for at, char in enumerate(label) if char in _JOINERS):
            raise UnicodeError("a joiner where none may be")
    return label


def _decoded(label: str) -> str:
    """Decodes a label of Punycode, if it is the one that the name it stands for has."""
    coded = label.removeprefix(_PREFIX)
    try:
        decoded = coded.encode("ascii").decode("punycode")
        # Otherwise two spellings, of which one looks like plain ASCII, would be the same name.
        is_canonical = not decoded.isascii() and decoded.encode("punycode").decode("ascii") == coded
        is_mapped = idna.uts46_remap(decoded, std3_rules=False) == decoded
    except (UnicodeError, ValueError, OverflowError):
        is_canonical = is_mapped = False
    if not (is_canonical and is_mapped) or "." in decoded or decoded.startswith(_PREFIX):
        raise InvalidAddress("The host name contains an invalid `xn--` label: write the name in its own letters.")
    return decoded


def _ipv4(text: str) -> str:
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except OSError:
        raise InvalidAddress(
            "The host ends in a number but is not a valid IPv4 address: write it as 192.0.2.1."
        ) from None


def _ipv6(text: str) -> str:
    try:
        # IPvFuture and zone ids (`%eth0`) fail here, too.
        return str(ipaddress.IPv6Address("" if "%" in text or not text.endswith("]") else text[1:-1]))
    except ValueError:
        raise InvalidAddress("The host in brackets is not a valid IPv6 address: write it as [2001:db8::1].") from None
