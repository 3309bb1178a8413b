"""What counts as an address, its one normal form, and the form that may be shown."""

from __future__ import annotations

import pytest

from core.errors import InvalidAddress
from core.net.urls import Address, redact_url


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://Shop.Example/Shirt.jpg", "https://shop.example/Shirt.jpg"),
        ("HTTP://shop.example", "http://shop.example/"),
        ("https://shop.example:443/a?b=%2F+c&d", "https://shop.example/a?b=%2F+c&d"),
        ("https://shop.example:8443/a#part", "https://shop.example:8443/a"),
        ("https://bücher.example/ü?q=ü", "https://xn--bcher-kva.example/%C3%BC?q=%C3%BC"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://0177.0.0.1/", "http://127.0.0.1/"),
        ("http://①②⑦.0.0.1/", "http://127.0.0.1/"),
        ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("http://localhost./", "http://localhost./"),
        ("http://%31%32%37.0.0.1/", "http://127.0.0.1/"),
        # A blank in a path or a query is encoded; existing escapes stay.
        ("https://shop.example/a b?c d%20e#f g", "https://shop.example/a%20b?c%20d%20e"),
        ("https://shop.example/a\xa0b\u3000c", "https://shop.example/a%C2%A0b%E3%80%80c"),
        ("s3://shop-photos/2026/a b?c#d%2F..", "s3://shop-photos/2026/a b?c#d%2F.."),
        ("upload://local/ab/abcd", "upload://local/ab/abcd"),
    ],
)
def test_one_normal_form(text, normal):
    assert str(Address.parse(text)) == normal
    assert Address.parse(normal) == Address.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shirt.jpg",
        "//shop.example/a",
        "http:shop.example",
        "http:///etc/passwd",
        "file:///etc/passwd",
        "ftp://shop.example/a",
        "gopher://shop.example/a",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://user:secret@shop.example/",
        "http://user@shop.example/",
        "http://shop.example\\@127.0.0.1/",
        "http://shop.example/a\\b",
        "http://shop.example/?a\\b",
        "http://shop .example/",
        "http://shop.example/\r\nHost: x",
        "http://shop.example/a\tb",
        "http://shop.ex\nample/",
        "http://shop.example/a\u2028b",
        "http://shop.example/\x00",
        "http://shop.example:0/",
        "http://shop.example:99999/",
        "http://shop.example:x/",
        "http://a..b/",
        "http://-a.example/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://[fe80::1%25eth0]/",
        "http://[::1]x/",
        "http://[v1.x]/",
        "http://shop.example/\ud800",
        "https://shop.example/" + "a" * 2048,
        "https://shop.example/" + "é" * 1000,
        "s3://bucket",
        "s3:bucket/key",
        "s3://b/key",
        "s3://bucket/",
        "s3://bucket/a\nb",
        "upload://",
        "upload:///etc/passwd",
        "upload://local/../x",
        "upload://local//x",
    ],
)
def test_refused_with_a_sentence(text):
    with pytest.raises(InvalidAddress) as caught:
        Address.parse(text)
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    "around",
    [
        " ",
        "\t",
        "\n",
        "\r\n",
        "\f\v",
        "\xa0",
        "\u2003",
        "\u3000",
        "\u2028",
        "\ufeff",
        "\u200b",
        "\u2060",
        "\u200e",
        "\u202a",
    ],
)
@pytest.mark.parametrize("text", ["https://shop.example/a", "s3://bucket/key", "http://shop.example/?a"])
def test_blanks_around_an_address_are_cut(text: str, around: str) -> None:
    for written in (around + text, text + around, f"{around} {text} {around}"):
        assert Address.parse(written) == Address.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://shop.example/a?X-Amz-Signature=hush#part", "https://shop.example/a"),
        ("https://user:hush@shop.example/a", "https://shop.example/a"),
        (" https://user:hush@shop.example/a ", "https://shop.example/a"),
        ("s3://bucket/a@b?hush", "s3://bucket/a@b"),
        ("not an address?hush", "not an address"),
    ],
)
def test_redacted_hides_secrets(text, shown):
    assert redact_url(text) == shown


def test_redacted_takes_a_parsed_address():
    assert redact_url(Address.parse("https://shop.example/a?sig=1")) == "https://shop.example/a"
