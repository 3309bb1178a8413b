"""`make check`: no source file reaches 400 lines, so that each can be read in one sitting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIMIT = 400
SUFFIXES = {".py", ".js", ".css", ".html", ".sh"}


def main() -> int:
    """Prints each tracked source file that is too long; 1 if there is one."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    sizes = {path: _lines(Path(path)) for path in listed.stdout.splitlines() if Path(path).suffix in SUFFIXES}
    too_long = {path: lines for path, lines in sizes.items() if lines >= LIMIT}
    for path, lines in too_long.items():
        print(f"{path}: {lines} lines, the limit is {LIMIT - 1}: split it by what its parts are for")
    longest = max(sizes, key=lambda path: sizes[path])
    print(f"largest file: {longest} ({sizes[longest]} lines)")
    return 1 if too_long else 0


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
