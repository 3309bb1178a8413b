"""What was probably meant by a text that is not an address that can be fetched.

A hint is only shown: nothing is requested on its account.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

_UPLOAD = "upload the file's bytes in the field `file`"
_FULL_URL = "use a full URL, such as https://shop.example/shirt.jpg"
_PRESIGNED = "use its https address or a presigned URL"
_SERVED = f"serve the file over https, or {_UPLOAD}"


@dataclass(frozen=True)
class Hint:
    """What is wrong, what to do, and an address to write instead if one can be guessed; it may be invalid."""

    problem: str
    remedy: str = _FULL_URL
    candidate: str = ""


_BY_SCHEME = {
    "data": Hint("A data: address contains the picture itself", _UPLOAD),
    "blob": Hint("A blob: address is valid only in the browser that created it", _UPLOAD),
    "filesystem": Hint("A filesystem: address is valid only in the browser that created it", _UPLOAD),
    "file": Hint("A file: address is valid only on your own machine", _UPLOAD),
    "content": Hint("A content: address is valid only on your own device", _UPLOAD),
    "cid": Hint("A cid: address is valid only inside its email", _UPLOAD),
    "javascript": Hint("A javascript: address is a script, not a picture"),
    "about": Hint("An about: address is a page of the browser, not a picture"),
    "gs": Hint(
        "Addresses of Google Cloud Storage start with https here",
        f"{_PRESIGNED}, such as https://storage.googleapis.com/bucket/shirt.jpg",
    ),
    **dict.fromkeys(("ftp", "ftps", "sftp", "scp"), Hint("Files are not fetched over FTP or SSH", _SERVED)),
    **dict.fromkeys(
        ("az", "azure", "abfs", "abfss", "wasb", "wasbs", "adl"),
        Hint(
            "Addresses of Azure storage start with https here",
            f"{_PRESIGNED}, such as https://account.blob.core.windows.net/container/shirt.jpg",
        ),
    ),
    **dict.fromkeys(
        ("r2", "b2", "oss", "cos", "obs", "gdrive", "dropbox", "hdfs", "dbfs"),
        Hint("This kind of storage is read over https only", _PRESIGNED),
    ),
}  # fmt: skip
_FETCHED = frozenset({"http", "https", "s3", "upload"})
_DISGUISED = {"hxxp": "http", "hxxps": "https"}  # as texts about malware write them

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_S3 = re.compile(r"(?:s3[an]://|arn:aws[a-z-]*:s3:::)(.+)", re.IGNORECASE | re.DOTALL)
_HOST = (
    r"(?:localhost|\[[0-9a-f:.]+\]|(?:[^\s./?#@:\\\"'<>()\[\]]+\.)+[^\s./?#@:\\\"'<>()\[\]]+\.?)(?::\d+)?(?=[/?#]|$)"
)
_HOST_FIRST = re.compile(_HOST, re.IGNORECASE)
_SLASHES = re.compile(r"(https?):[/\\]*(.*)", re.IGNORECASE | re.DOTALL)
_TWICE = re.compile(r"(?:https?:?//+){2,}", re.IGNORECASE)
_MISSPELT = re.compile(r"([a-z]{2,8})\s*[:;.]?\s*//+(.*)", re.IGNORECASE | re.DOTALL)
_WITHIN = re.compile(r"(?:https?|s3)://[^\s\"'<>()\[\]{}“”‘’«»`]+", re.IGNORECASE)
_PATH = re.compile(r"[/~\\]|\.{1,2}[/\\]|[a-z]:[/\\]|[^:?#]*[/\\]", re.IGNORECASE)
_FILE = re.compile(r"[^/\\:]+\.(?:jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf])", re.IGNORECASE)


def hint(text: str) -> Hint:
    """Returns the hint for a text without surrounding blanks that is no valid http, https, s3 or upload address."""
    scheme = _SCHEME.match(text)
    known = _BY_SCHEME.get(scheme[1].lower()) if scheme else None
    if known is not None:
        return known
    if found := _S3.match(text):
        return Hint("Only one form of S3 address is accepted", "write it as s3://bucket/key", f"s3://{found[1]}")
    for find in (_of_web, _of_file, _without_scheme, _within, _misspelt):
        if found_hint := find(text):
            return found_hint
    if scheme is None:
        return Hint("The address has no scheme")
    return Hint("Only http, https and s3 addresses can be fetched", "upload other files directly")


def is_known_scheme(text: str) -> bool:
    """Whether the text starts like an address, with or without slashes: `http:`, `data:`. A drive does not."""
    scheme = _SCHEME.match(text)
    return scheme is not None and (scheme[1].lower() in _BY_SCHEME or scheme[1].lower() in _FETCHED)


def repeats_scheme(text: str) -> bool:
    """Whether the text starts like `https://https://`, which asks for a host with the name `https`."""
    return _TWICE.match(text) is not None


def _of_web(text: str) -> Hint | None:
    """For http and https: a scheme that is repeated, or not followed by two slashes and a host."""
    if repeats_scheme(text):
        return Hint("The address has its scheme twice", candidate="https://" + _TWICE.sub("", text, count=1))
    found = _SLASHES.match(text)
    if found is None:
        return None
    rest = found[2].replace("\\", "/")
    if not _HOST_FIRST.match(rest):
        return Hint("The address has no host")
    return Hint("Two slashes must follow the scheme", candidate=f"{found[1].lower()}://{rest}")


def _of_file(text: str) -> Hint | None:
    if _FILE.fullmatch(text):
        return Hint("This is the name of a file, not an address", f"{_FULL_URL}, or {_UPLOAD}")
    return None


def _without_scheme(text: str) -> Hint | None:
    """For `//cdn.example/x.jpg`, `cdn.example/x.jpg` and paths."""
    rest = text.lstrip("/") if text.startswith("//") else text
    if _HOST_FIRST.match(rest):
        return Hint("The address has no scheme", candidate=f"https://{rest}")
    if _PATH.match(text) and not _WITHIN.search(text) and not _close_to_web(text):
        return Hint("This is a path, not an address", f"{_FULL_URL}, or {_UPLOAD}")
    return None


def _within(text: str) -> Hint | None:
    """For an address in quotation marks, brackets, Markdown or HTML, or after a word such as `view-source:`."""
    if found := _WITHIN.search(text):
        return Hint("The text contains more than an address", candidate=found[0])
    return None


def _misspelt(text: str) -> Hint | None:
    if found := _close_to_web(text):
        return Hint("The scheme is misspelled", candidate="{}://{}".format(*found))
    return None


def _close_to_web(text: str) -> tuple[str, str] | None:
    """Returns the scheme that was probably meant, and the rest, for `htps://…`, `https//…` and `https;//…`."""
    found = _MISSPELT.match(text)
    if found is None:
        return None
    word = found[1].lower()
    close = difflib.get_close_matches(_DISGUISED.get(word, word), ("https", "http"), n=1, cutoff=0.7)
    return (close[0], found[2]) if close else None
