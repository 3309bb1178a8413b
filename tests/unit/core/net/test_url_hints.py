"""What is not an address that can be fetched is refused with a sentence that says what was meant."""

from __future__ import annotations

import pytest

from core.errors import InvalidAddress
from core.net.urls import Address

UPLOAD = "upload the file's bytes in the field `file`"
FULL = "use a full URL, such as https://"


def refusal(text: str) -> str:
    with pytest.raises(InvalidAddress) as caught:
        Address.parse(text)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("//cdn.example/x.jpg", "https://cdn.example/x.jpg"),
        ("///cdn.example/x.jpg", "https://cdn.example/x.jpg"),
        ("cdn.example/x.jpg", "https://cdn.example/x.jpg"),
        ("www.shop.example/x.jpg", "https://www.shop.example/x.jpg"),
        ("WWW.Shop.Example", "https://www.shop.example/"),
        ("shop.example:8443/x.jpg", "https://shop.example:8443/x.jpg"),
        ("localhost:8080/x.jpg", "https://localhost:8080/x.jpg"),
        ("192.0.2.1/x.jpg", "https://192.0.2.1/x.jpg"),
        ("straße.example/x y.jpg", "https://xn--strae-oqa.example/x%20y.jpg"),
        ("http:/shop.example/x", "http://shop.example/x"),
        ("http:shop.example/x", "http://shop.example/x"),
        ("HTTPS:///shop.example/x", "https://shop.example/x"),
        ("https:\\\\shop.example\\x.jpg", "https://shop.example/x.jpg"),
        ("https:/\\shop.example/x.jpg", "https://shop.example/x.jpg"),
        ("htps://shop.example/x", "https://shop.example/x"),
        ("htp://shop.example/x", "http://shop.example/x"),
        ("ttps://shop.example/x", "https://shop.example/x"),
        ("httpss://shop.example/x", "https://shop.example/x"),
        ("hxxps://shop.example/x", "https://shop.example/x"),
        ("https//shop.example/x", "https://shop.example/x"),
        ("https;//shop.example/x", "https://shop.example/x"),
        ("https ://shop.example/x", "https://shop.example/x"),
        ("https://https://shop.example/x", "https://shop.example/x"),
        ("http://https//shop.example/x", "https://shop.example/x"),
        ('"https://shop.example/x"', "https://shop.example/x"),
        ("'https://shop.example/x'", "https://shop.example/x"),
        ("„https://shop.example/x“", "https://shop.example/x"),
        ("<https://shop.example/x>", "https://shop.example/x"),
        ("![shirt](https://shop.example/x)", "https://shop.example/x"),
        ('<img src="https://shop.example/x">', "https://shop.example/x"),
        ("URL: https://shop.example/x", "https://shop.example/x"),
        ("view-source:https://shop.example/x", "https://shop.example/x"),
        ("s3a://bucket/key", "s3://bucket/key"),
        ("arn:aws:s3:::bucket/key", "s3://bucket/key"),
    ],
)
def test_the_address_that_was_meant_is_written(text: str, meant: str) -> None:
    assert refusal(text).endswith(f": write {meant} instead.")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", UPLOAD),
        ("DATA:image/png;base64," + "A" * 100_000, UPLOAD),
        ("blob:https://shop.example/3d7a", UPLOAD),
        ("file:///home/me/x.jpg", UPLOAD),
        ("file:C:\\x.jpg", UPLOAD),
        ("content://media/external/1", UPLOAD),
        ("/media/x.jpg", UPLOAD),
        ("./x.jpg", UPLOAD),
        ("../x.jpg", UPLOAD),
        ("~/x.jpg", UPLOAD),
        ("media/x.jpg", UPLOAD),
        ("C:\\pics\\x.jpg", UPLOAD),
        ("c:/pics/x.jpg", UPLOAD),
        ("\\\\server\\pics\\x.jpg", UPLOAD),
        ("pics\\x.jpg", UPLOAD),
        ("shirt.jpg", UPLOAD),
        ("Blaues Hemd.JPEG", UPLOAD),
        ("ftp://shop.example/x.jpg", "serve the file over https"),
        ("sftp://shop.example/x.jpg", "serve the file over https"),
        ("gs://bucket/x.jpg", "use its https address or a presigned URL"),
        ("az://container/x.jpg", "use its https address or a presigned URL"),
        ("abfss://container@account.dfs.core.windows.net/x.jpg", "use its https address or a presigned URL"),
        ("wasbs://container/x.jpg", "use its https address or a presigned URL"),
        ("r2://bucket/x.jpg", "use its https address or a presigned URL"),
        ("javascript:alert(1)", FULL),
        ("about:blank", FULL),
        ("http:/x", FULL),
        ("http:///", FULL),
        ("https://", FULL),
        ("https:", FULL),
        ("shirt", FULL),
        ("n/a", FULL),
        ("//", FULL),
        ("gopher://shop.example/", "Only http, https and s3 addresses can be fetched"),
        ("mailto:me@shop.example", "Only http, https and s3 addresses can be fetched"),
        ("s3:bucket/key", "s3://bucket/key"),
    ],
)
def test_the_remedy_fits_the_kind(text: str, remedy: str) -> None:
    message = refusal(text)
    assert remedy in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "cdn.example/x.jpg?sig=hush",
        "//user:hush@cdn.example/x.jpg",
        "user:hush@cdn.example/x.jpg",
        '"https://cdn.example/x.jpg?sig=hush"',
        '"https://user:hush@cdn.example/x.jpg"',
        "htps://cdn.example/x.jpg?hush",
        "htps://user:hush@cdn.example/x.jpg",
        "data:image/png;base64,hush",
        "hush",
        "hush://x",
        "/hush/x.jpg",
    ],
)
def test_a_refusal_shows_no_secret(text: str) -> None:
    assert "hush" not in refusal(text)


@pytest.mark.parametrize(
    "text", ["https://" * 250 + "x.example", "http:" * 400, "/" * 2000, "a." * 1000, ":" * 2000, '"' * 2000, "<" * 2000]
)
def test_long_repetitions_are_refused_quickly(text: str) -> None:
    assert refusal(text).endswith(".")
