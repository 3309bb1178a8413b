"""Whatever the text: it is refused with a sentence, or has one normal form that is read in the same way again."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import InvalidAddress
from core.net.urls import Address, cut_blanks

# Pieces that parsers read differently, more often than chance would have them.
BLANKS = (" ", "\t", "\r\n", "\0", "\xa0", "\u2028", "\u00ad", "\u200b", "\u200c", "\u200d", "\ufeff")
PIECES = """
    http https s3 : // / \\ @ ? # % %2e %40 %2F %5B [ ] ::1 127 . 。 ． 0x7f - _ :80 localhost shop.example
    xn-- xn--strae-oqa ß ſ Σ ẞ İ א ١ ❤ e\u0301 ℀ １ ① " < >
"""
TEXTS = st.lists(st.sampled_from((*PIECES.split(), *BLANKS)) | st.text(max_size=3), max_size=12).map("".join)
ADDRESSES = TEXTS | TEXTS.map("http://{}".format) | TEXTS.map("https://shop.example/{}".format)


@settings(max_examples=500, deadline=None)
@given(ADDRESSES)
@example("https://shop.example/%")
@example("http://xn--/")
def test_a_text_is_refused_or_has_one_normal_form(text: str) -> None:
    address = _parsed(text)
    if address is None:
        return
    normal = str(address)
    assert Address.parse(normal) == address
    assert Address.parse(f"\t {normal}\r\n\ufeff") == address
    assert cut_blanks(normal) == normal
    if address.scheme != "s3":
        assert re.fullmatch(r"[a-z]+://[!-~]+", normal)
        assert not re.search(r"[\\\s<>\"#]", normal)
        assert re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", address.host)
        assert 1 <= address.port <= 65535


def _parsed(text: str) -> Address | None:
    """The address; None if the text was refused with a sentence."""
    try:
        return Address.parse(text)
    except InvalidAddress as error:
        if not re.fullmatch(r"[A-Z].+\.", error.message):
            raise
        return None
