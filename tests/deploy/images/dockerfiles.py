"""Reading Dockerfiles: instructions, stages, and what .dockerignore lets through."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[3]
INSTRUCTIONS = {
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "RUN",
    "USER",
    "WORKDIR",
}


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    base: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [each.rest for each in self.instructions if each.word == word]


def instructions(path: Path) -> list[Instruction]:
    """The instructions, with continued lines joined and comments gone. Raises ValueError for a word that is none."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = []
    for line in filter(str.strip, joined.splitlines()):
        word, _, rest = line.strip().partition(" ")
        if word not in INSTRUCTIONS:
            raise ValueError(f"{path.name}: {word} is no instruction")
        found.append(Instruction(word, rest.strip()))
    return found


def stages(path: Path) -> list[Stage]:
    """The file's stages in order."""
    found: list[Stage] = []
    for each in instructions(path):
        if each.word == "FROM":
            base, _, name = each.rest.partition(" AS ")
            found.append(Stage(base, name or None))
        elif found:
            found[-1].instructions.append(each)
    return found


def arguments(path: Path) -> dict[str, str]:
    """The ARGs before the first FROM, with their defaults."""
    found = {}
    for each in instructions(path):
        if each.word == "FROM":
            break
        name, _, default = each.rest.partition("=")
        found[name] = default
    return found


def context_copies(path: Path) -> list[str]:
    """What COPY takes from the folder that is built, not from other stages."""
    found = []
    for stage in stages(path):
        for rest in stage.all("COPY"):
            if not rest.startswith("--from="):
                found += [source.rstrip("/") for source in rest.split()[:-1]]
    return found


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps the path out: the last pattern that fits it or a folder above it decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for pattern in patterns:
        is_exception = pattern.startswith("!")
        plain = pattern.removeprefix("!")
        if any(_fits(prefix, plain) for prefix in prefixes):
            ignored = not is_exception
    return ignored


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return any(fnmatch(part, pattern[3:]) for part in path.split("/"))
    # Unlike fnmatch's, Docker's * does not cross a slash.
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


def ignore_patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
