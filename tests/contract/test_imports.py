"""What a process loads: the api and the dispatcher must stay small, whoever adds an import."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["api.app", "dispatcher.main", "cli.local", "cli.main"])
def test_importing_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'timm', 'PIL', 'model'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
