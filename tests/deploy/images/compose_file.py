"""docker-compose.yml as Compose reads it: variables put in, merges done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from core.settings import Settings

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yml"

# $$ | ${NAME} | ${NAME:-default} | ${NAME:?complaint}: the forms that our file uses.
VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<how>[-?])(?P<word>[^}]*))?\})")


class Unset(Exception):
    """A variable that must be set is not."""


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with the variables put in. Raises Unset as Compose refuses to start."""
    document = put_in(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")), variables)
    assert isinstance(document, dict)
    return document


def put_in(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: put_in(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [put_in(each, variables) for each in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _value(match, variables), value)
    return value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["dollar"]:
        return "$"
    if found := variables.get(match["name"]):
        return found
    if match["how"] == "?":
        raise Unset(f"{match['name']}: {match['word']}")
    return match["word"] or ""


def required_variables() -> set[str]:
    """Those without which Compose refuses to start."""
    text = COMPOSE.read_text(encoding="utf-8")
    return {match["name"] for match in VARIABLE.finditer(text) if match["how"] == "?"}


def example_variables() -> list[str]:
    """The names that .env.example asks to be filled in."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return [line.removesuffix("=") for line in lines if line.endswith("=") and not line.startswith("#")]


def ours(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The services that run our images."""
    for name, service in document["services"].items():
        if service["image"].startswith("asset-enrichment-"):
            yield name, service


def setting_names() -> set[str]:
    """Every ENRICH_… variable that a process of ours reads."""
    return set(_names(Settings, "ENRICH_"))


def _names(group: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in group.model_fields.items():
        kind, key = field.annotation, f"{prefix}{name.upper()}"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _names(kind, f"{key}__")
        else:
            yield key
