"""Host names as browsers map them: UTS 46, non-transitional, without the rules of IDNA 2008 on letters and hyphens."""

from __future__ import annotations

import pytest

from core.errors import InvalidAddress
from core.net.http import GuardedClient
from core.net.urls import Address
from core.settings import FetchSettings
from tests import pictures
from tests.image_server import ImageServer


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        # letters that IDNA 2003 replaced, so that another host was asked
        ("straße.example", "xn--strae-oqa.example"),
        ("STRASSE.example", "strasse.example"),
        ("faẞ.example", "xn--fa-hia.example"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("ΒΌΛΟΣ.example", "xn--nxasmq6b.example"),  # a capital sigma is never a final one
        ("نامه\u200cای.example", "xn--mgba3gch31f060k.example"),
        ("ශ්\u200dරී.example", "xn--10cl1a0b660p.example"),
        # case, width, composition
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("ｓｈｏｐ．example", "shop.example"),
        ("shop。example", "shop.example"),
        ("shop｡example．", "shop.example."),
        ("ſhop.example", "shop.example"),
        ("Kaufhaus.example", "kaufhaus.example"),
        ("İ.example", "xn--i-9bb.example"),
        # characters that are dropped
        ("sh\u00adop.example", "shop.example"),
        ("shop\u200b.example", "shop.example"),
        ("\ufeffshop.example", "shop.example"),
        ("shop\u2060.example\ufe0f", "shop.example"),
        # what IDNA 2008 refuses and browsers ask for
        ("i❤️.example", "xn--i-7iq.example"),
        ("☕.example", "xn--53h.example"),
        ("🫨.example", "xn--929h.example"),  # newer than the Unicode of Python 3.11
        ("r3---sn-4g5e.example", "r3---sn-4g5e.example"),
        ("my_shop.example", "my_shop.example"),
        ("_images.example", "_images.example"),
        ("shop-.example", "shop-.example"),
        # Punycode
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("XN--STRAE-OQA.example", "xn--strae-oqa.example"),
        ("xn--53h.example", "xn--53h.example"),
        ("אב.example", "xn--4dbc.example"),
        # percent-encoded
        ("%65xample.example", "example.example"),
        ("stra%C3%9Fe.example", "xn--strae-oqa.example"),
        ("shop%2Eexample", "shop.example"),
        ("%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1", "127.0.0.1"),
        # the trailing dot stays: it keeps a resolver from trying its search list
        ("shop.example.", "shop.example."),
        ("１２７.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
    ],
)
def test_a_host_is_the_one_that_a_browser_asks(written: str, asked: str) -> None:
    address = Address.parse(f"https://{written}/a.jpg")
    assert address.host == asked
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "written",
    [
        "xn--",
        "xn--a",
        "xn--abc-",
        "xn--strasse-.example",  # the Punycode of plain ASCII
        "xn--\u00e4.example",
        "xn--a-ecp.ru",  # an upper-case letter within
        "xn--xn---epa.example",
        "xn--1ug.example",  # a joiner alone
        "xn--zn7c.com",  # a full stop within
        "shop.xn--99999999999.example",
        "\u200dshop.example",
        "sh\u200dop.example",
        "👨\u200d👩.example",
        "\u0301shop.example",
        "shop.\u0300.example",
        "0à.אב",  # mixed directions
        "אa.example",
        "a..example",
        ".example",
        "..",
        "-shop.example",
        "shop\u3000.example",
        "shop\xa0.example",
        "sh%20op.example",
        "shop%2fa.example",
        "shop%00.example",
        "shop%.example",
        "shop%2525.example",
        "shop%ff.example",
        "shop%40other.example",
        "％20.example",
        "℀.example",  # contains a slash once mapped
        "shop＠other.example",
        "shop：80",
        "a" * 64 + ".example",
        "ü" * 60 + ".example",
        ".".join(["a" * 60] * 5),
        "shop!.example",
        "[::1%eth0]",
        "[::1",
        "::1",
        "%5B::1%5D",
        "1.2.3.256",
        "1.2.3.4.5",
        "0x.0x.0x.0xg.1",
    ],
)
def test_an_invalid_host_is_refused_with_a_sentence(written: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        Address.parse(f"https://{written}/a.jpg")
    assert caught.value.message.startswith(("The host", "The address"))
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("straße.example", "xn--strae-oqa.example"),
        ("%65xample.com", "example.com"),
        ("i❤.example", "xn--i-7iq.example"),
        ("r3---sn_4g5e.example", "r3---sn_4g5e.example"),
    ],
)
def test_resolver_and_server_see_the_same_host(written: str, asked: str) -> None:
    looked_up = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    with ImageServer() as server:
        client = GuardedClient(FetchSettings(allow_networks=("127.0.0.0/8",)), resolve=resolve)
        for url in (
            server.url("/good.jpg", host=written),
            server.url(f"/redirect-to?{server.url('/good.jpg', written)}"),
        ):
            assert client.get(url).body == pictures.jpeg()
        client.close()
        assert looked_up[0] == looked_up[-1] == asked
        assert server.requests[0] == server.requests[-1] == ("/good.jpg", f"{asked}:{server.port}")


def test_invalid_punycode_is_named() -> None:
    with pytest.raises(InvalidAddress, match="invalid `xn--` label"):
        Address.parse("https://xn--a.example/")
