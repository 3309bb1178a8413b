"""What the commands take as a source: files, folders, addresses and lists, and the errors of unreadable ones."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from cli.sources import Source, expand, read_list
from core.errors import EnrichError
from tests import pictures


def texts(*given: str | Path) -> tuple[list[str], list[str]]:
    """The sources and the notes."""
    notes: list[str] = []
    return [source.text for source in expand(map(str, given), notes.append)], notes


def code_of(text: str | Path, max_bytes: int = 1000) -> str | None:
    """The error code of reading a file or a folder without pictures; None if it can be read."""
    (source,) = expand([str(text)], note=print)
    try:
        source.read_file(max_bytes)
    except EnrichError as error:
        return error.code if error.message.endswith(".") else error.message
    return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures by name, by content and by both, in three levels, among other files."""
    for name, data in {
        "b.jpg": pictures.jpeg(),
        "a/2.JPEG": pictures.jpeg(),
        "a/1.png": pictures.GOOD["png"]() if "png" in pictures.GOOD else pictures.encoded(pictures.drawn(), "PNG"),
        "a.jpg": pictures.jpeg(),
        "a/deep/er/x.webp": pictures.encoded(pictures.drawn(), "WEBP"),
        "no-suffix": pictures.jpeg(),
        "damaged.jpg": b"<html>",
        "notes.txt": b"notes",
        "a/Thumbs.db": b"\xd0\xcf\x11\xe0",
        "empty.txt": b"",
        ".hidden.jpg": pictures.jpeg(),
        ".git/x.jpg": pictures.jpeg(),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_folder_stands_for_its_pictures_sorted_by_path(folder: Path) -> None:
    found, notes = texts(folder)
    names = ["a/1.png", "a/2.JPEG", "a/deep/er/x.webp", "a.jpg", "b.jpg", "damaged.jpg", "no-suffix"]
    assert found == [str(folder / name) for name in names]
    assert found == [str(path) for path in sorted(folder.rglob("*")) if str(path) in found]
    assert notes == [f"{folder}: skipped 3 files that are not pictures, such as {folder / 'a' / 'Thumbs.db'}"]


def test_sources_keep_their_order(folder: Path) -> None:
    assert texts("https://shop.example/x", folder / "a", "missing.jpg", folder / "b.jpg")[0] == [
        "https://shop.example/x",
        *(str(folder / "a" / name) for name in ("1.png", "2.JPEG", "deep/er/x.webp")),
        "missing.jpg",
        str(folder / "b.jpg"),
    ]


def test_names_alone_decide_where_no_worker_is_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the API's image."""
    monkeypatch.setitem(sys.modules, "worker.image.formats", None)
    found, notes = texts(folder / "a", folder)
    assert str(folder / "a" / "2.JPEG") in found
    assert str(folder / "no-suffix") not in found
    assert "skipped 4 files" in notes[1]


def test_a_file_that_is_named_is_taken_whatever_it_is(folder: Path) -> None:
    assert texts(folder / "notes.txt", folder / ".hidden.jpg") == (
        [str(folder / "notes.txt"), str(folder / ".hidden.jpg")],
        [],
    )


def test_links_to_folders_and_pipes_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(pictures.jpeg())
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "x.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    found, notes = texts(tmp_path)
    assert found == [str(tmp_path / name) for name in ("broken.jpg", "link.jpg", "x.jpg")]
    assert "skipped 2 files" in notes[0]


def test_a_large_folder_is_read_as_it_is_needed(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}" / "x.jpg").write_bytes(b"\xff\xd8\xff")
    sources = expand([str(tmp_path)], note=print)
    assert next(sources).text == str(tmp_path / "00" / "x.jpg")
    (tmp_path / "49" / "y.jpg").write_bytes(b"\xff\xd8\xff")
    assert [source.text for source in sources][-1] == str(tmp_path / "49" / "y.jpg")


@pytest.mark.parametrize(
    ("text", "is_address"),
    [
        ("https://shop.example/x.jpg", True),
        (" https://shop.example/x.jpg\n", True),
        ("s3://bucket/key", True),
        ("htps://shop.example/x.jpg", True),
        ("http:shop.example/x.jpg", True),
        ("data:image/png;base64,AAAA", True),
        ("JavaScript:alert(1)", True),
        ("gs://bucket/x", True),
        ("file:///x.jpg", True),
        ("shirt.jpg", False),
        ("www.shop.example/x.jpg", False),
        ("//shop.example/x.jpg", False),
        ("C:\\pics\\x.jpg", False),
        ("a:b.jpg", False),
        ("photo:1.jpg", False),
        ("-x.jpg", False),
        ("", False),
        (" ", False),
    ],
)
def test_an_address_is_told_from_a_file(text: str, is_address: bool) -> None:
    (source,) = expand([text], note=print)
    assert source.is_address is is_address


def test_a_file_that_exists_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data:x.jpg").write_bytes(b"x")
    assert code_of("data:x.jpg") is None


def test_the_errors_of_files(tmp_path: Path) -> None:
    (tmp_path / "big.jpg").write_bytes(b"x" * 1001)
    (tmp_path / "fits.jpg").write_bytes(b"x" * 1000)
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "no-pictures").mkdir()
    (tmp_path / "no-pictures" / "x.txt").write_bytes(b"x")
    found = {
        name: code_of(tmp_path / name)
        for name in ("big.jpg", "fits.jpg", "empty.jpg", "missing.jpg", "fits.jpg/x.jpg", "nothing", "no-pictures")
    }
    assert found == {
        "big.jpg": "image_too_large",
        "fits.jpg": None,
        "empty.jpg": "image_undecodable",
        "missing.jpg": "not_found",
        "fits.jpg/x.jpg": "not_found",
        "nothing": "not_found",
        "no-pictures": "not_found",
    }
    assert (code_of("zero\0byte.jpg"), code_of(""), code_of("x" * 5000)) == ("not_found", "not_found", "access_denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_denied(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "secret.jpg").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    assert code_of(tmp_path / "secret.jpg") == code_of(tmp_path / "closed") == "access_denied"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
        (b"a.jpg\r\n\r\n \t\r\nb.jpg", ["a.jpg", "b.jpg"]),
        (b"\xef\xbb\xbfhttps://shop.example/a b\n", ["https://shop.example/a b"]),
        ("\xa0https://shop.example/ü\u200b\t\n".encode(), ["https://shop.example/ü"]),
        (b'"https://shop.example/a,b"\n<https://shop.example/c>\n\'d.jpg\'\n',
         ["https://shop.example/a,b", "https://shop.example/c", "d.jpg"]),
        (b'a "quoted" name.jpg\n"\n', ['a "quoted" name.jpg', '"']),
        ("a.jpg\r\nbü.jpg\r\n".encode("utf-16"), ["a.jpg", "bü.jpg"]),
        (b"\xfe\xff" + "a.jpg\nb.jpg".encode("utf-16-be"), ["a.jpg", "b.jpg"]),
        (b"caf\xe9.jpg\n", ["caf\udce9.jpg"]),
        (b"", []),
        (b"# not a comment.jpg\n", ["# not a comment.jpg"]),
    ],
)  # fmt: skip
def test_a_list_has_one_source_a_line(data: bytes, lines: list[str]) -> None:
    assert list(read_list(io.BytesIO(data))) == lines


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Source("./x.jpg", Path("./x.jpg")), {"file": "x.jpg"}),
        (Source("caf\udce9.jpg", Path("caf\udce9.jpg")), {"file": "caf�.jpg"}),
        (Source("https://straße.example/a b?sig=hush"), {"url": "https://xn--strae-oqa.example/a%20b"}),
        (Source("htps://shop.example/a?sig=hush"), {"url": "htps://shop.example/a"}),
    ],
)
def test_a_document_names_its_source(source: Source, name: dict[str, str]) -> None:
    assert source.name == name
    assert source.failure("not_found", "Gone.") | {"source": ""} == {
        **name,
        "source": "",
        "error": {"code": "not_found", "message": "Gone."},
    }
