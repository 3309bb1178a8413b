"""The documentation is true of the repository: links, `make` targets and paths exist, and the site builds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference" / "_generated"
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")),
        *(path for path in (ROOT / "docs").rglob("*.md") if GENERATED not in path.parents),
    ]
)
MAX_README_LINES = 150

LINK = re.compile(r"\]\((?!https?://|#)([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
MAKE = re.compile(r"(?:`|^|&& )make ((?:[A-Z]+=\S+ )*)([a-z-]+)", re.MULTILINE)
# A path in backticks with a folder and an extension, or a folder of ours with a slash at its end.
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/(?:[\w.-]+\.[a-z]+)?)`")
# Written by a run, in the caller's own folders, or served over HTTP.
NOT_OURS = re.compile(r"^(?:runs|reports|build|shop|images|data|\.\./shared)/|^styles\.csv$")


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def slugs(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = [re.sub(r"[`*]|\[|\]\([^)]*\)", "", title) for title in HEADING.findall(prose(path))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def names(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    yield from (match[match.lastindex or 0] for match in pattern.finditer(text))


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_relative_link_resolves(page: Path) -> None:
    for target in names(LINK, prose(page)):
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve()
        assert found.exists(), target
        # Anchors of the generated pages are checked when the site is built.
        if anchor and found.parent != GENERATED.parent:
            assert anchor in slugs(found), target


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(names(MAKE, page.read_text(encoding="utf-8"))) - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_path_exists(page: Path) -> None:
    """Paths are relative to the repository, or to the folder of the page."""
    paths = [path for path in names(PATH, prose(page)) if not NOT_OURS.match(path)]
    assert [path for path in paths if not (ROOT / path).exists() and not (page.parent / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_module_that_is_run_exists(page: Path) -> None:
    modules = set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", page.read_text(encoding="utf-8")))
    found = {name for name in modules if _has_main(ROOT.joinpath(*name.split(".")))}
    assert modules - found - {"pytest", "sphinx"} == set()


def _has_main(path: Path) -> bool:
    return path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="(https?:[^"]*)"', page)
    assert loaded == [], "the site must not load anything from elsewhere"
