"""What `enrich predict` and `enrich submit` take: files, folders, addresses, and lists of them.

Both commands read sources with this module, so that the same source has the same document and error code in both.
"""

from __future__ import annotations

import codecs
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from core.errors import AccessDenied, EnrichError, ImageTooLarge, ImageUndecodable, InvalidAddress, NotFound
from core.net.url_hints import is_known_scheme
from core.net.urls import Address, cut_blanks, redact_url

Document = dict[str, object]
Note = Callable[[str], None]

STANDARD_INPUT = "-"
"""As a source: a list of sources on standard input."""

# Files with these names are pictures, even if their content is not: the answer then says so.
PICTURE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
    ]
)

_HEAD_BYTES = 4096
_WRAPPED = re.compile(r"(?=\".+\"$|'.+'$|<.+>$)(.)(.+).")


@dataclass(frozen=True)
class Source:
    """One image to answer: a file if `path` is set, else an address.

    text: as the user wrote it; for a file in a folder, its path.
    error: why it cannot be read, if that is known already; only for files.
    """

    text: str
    path: Path | None = None
    error: EnrichError | None = None

    @property
    def is_address(self) -> bool:
        return self.path is None

    @property
    def name(self) -> Document:
        """The first key of its document: `file`, or `url` without the query string, as the API shows it."""
        if self.path is not None:
            return {"file": _printable(str(self.path) if self.text else "")}
        try:
            return {"url": redact_url(Address.parse(self.text))}
        except InvalidAddress:
            return {"url": _printable(redact_url(self.text))}

    def failure(self, code: str, message: str) -> Document:
        """The document of a source that has no answer."""
        return self.name | {"source": _printable(self.text), "error": {"code": code, "message": message}}

    def read_file(self, max_bytes: int) -> bytes:
        """Returns the file's bytes. Raises NotFound, AccessDenied, ImageTooLarge, ImageUndecodable (an empty file)."""
        if self.error is not None:
            raise self.error
        assert self.path is not None
        try:
            with self.path.open("rb") as file:
                data = file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the path
            raise NotFound(
                "There is no such file: check the path, or write an address in full, as in https://shop.example/a.jpg."
            ) from None
        except OSError as error:
            raise AccessDenied(f"The file cannot be read: {error.strerror}.") from error
        if len(data) > max_bytes:
            raise ImageTooLarge(
                f"The file is larger than {max_bytes} bytes (ENRICH_FETCH__MAX_BYTES): make it smaller."
            )
        if not data:
            raise ImageUndecodable("The file is empty: save or download the picture again.")
        return data


def with_lists(texts: Sequence[str], list_file: BinaryIO | None) -> Iterator[str]:
    """Yields the texts, then the lines of the list; `-` among the texts stands for the lines of standard input.

    Raises UsageError if there are neither texts nor a list.
    """
    if not texts and list_file is None:
        raise click.UsageError("name at least one file, folder or address, or a list with --from")
    return _with_lists(texts, list_file)


def _with_lists(texts: Sequence[str], list_file: BinaryIO | None) -> Iterator[str]:
    for text in texts:
        if text == STANDARD_INPUT:
            yield from read_list(sys.stdin.buffer)
        else:
            yield text
    if list_file is not None:
        yield from read_list(list_file)


def expand(texts: Iterable[str], note: Note) -> Iterator[Source]:
    """Yields the images of files, folders and addresses, in order, folders one file at a time.

    note: is told, in one sentence a folder, which files were skipped because they are not pictures.
    """
    for text in texts:
        if not cut_blanks(text):  # `Path("")` would be the current folder
            yield Source(text, Path(text), NotFound("This source is empty: write a file, a folder or an address."))
        elif _is_address(text):
            yield Source(cut_blanks(text))
        elif _is_folder(folder := Path(text)):
            yield from _pictures(folder, note)
        else:
            yield Source(text, Path(text))


def read_list(stream: BinaryIO) -> Iterator[str]:
    """Yields the lines of a list of sources, in UTF-8 or, with a byte order mark, UTF-16.

    Blanks around a line, quotation marks as in a CSV file, and angle brackets are cut; empty lines are skipped.
    """
    for line in _decoded(stream):
        text = cut_blanks(line)
        if wrapped := _WRAPPED.fullmatch(text):
            text = cut_blanks(wrapped[2])
        if text:
            yield text


def _decoded(stream: BinaryIO) -> Iterator[str]:
    first = stream.readline()
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes a list
        yield from (first + stream.read()).decode("utf-16", "replace").splitlines()
        return
    for line in itertools.chain([first], stream):
        yield line.decode("utf-8", "surrogateescape")  # a file's name need not be valid UTF-8


def _is_address(text: str) -> bool:
    return "://" in text or (is_known_scheme(cut_blanks(text)) and not os.path.lexists(text))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # reading it as a file tells why
        return False


def _pictures(folder: Path, note: Note) -> Iterator[Source]:
    skipped: list[Path] = []
    has_any = False
    for source in _walk(folder, skipped):
        has_any = True
        yield source
    if skipped:
        files = "1 file that is not a picture" if len(skipped) == 1 else f"{len(skipped)} files that are not pictures"
        note(f"{_printable(str(folder))}: skipped {files}, such as {_printable(str(skipped[0]))}")
    if not has_any:
        yield Source(str(folder), folder, NotFound("There is no picture in this folder."))


def _walk(folder: Path, skipped: list[Path]) -> Iterator[Source]:
    """Yields the pictures below a folder, sorted by path. Links to folders are not followed: they may form a loop."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        yield Source(str(folder), folder, AccessDenied(f"The folder cannot be read: {error.strerror}."))
        return
    for entry in entries:
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, skipped)
        elif _is_picture(path):
            yield Source(str(path), path)
        else:
            skipped.append(path)


def _is_picture(path: Path) -> bool:
    """Whether a file in a folder is meant as a picture: by its name or, as in the service, by its first bytes."""
    is_named = path.suffix.lower() in PICTURE_SUFFIXES
    if not os.path.isfile(path):  # a pipe or a device is never opened; reading a broken link says what it is
        return is_named and not os.path.exists(path)
    return is_named or _starts_like_picture(path)


def _starts_like_picture(path: Path) -> bool:
    try:
        from worker.image.formats import format_of
    except ModuleNotFoundError:  # the API's image contains no worker; names alone decide there
        return False
    try:
        with path.open("rb") as file:
            format_of(file.read(_HEAD_BYTES))
    except (OSError, EnrichError):
        return False
    return True


def _printable(text: str) -> str:
    """Replaces what is no valid UTF-8 in a file name, so that it can be printed as JSON."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
