"""`make check`: files and folders stay small enough to read.

Files have fewer than 400 lines, and folders at most 15 Python files.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

MAX_LINES = 399
MAX_FILES = 15
SUFFIXES = {".py", ".js", ".css", ".html", ".sh"}


def main() -> int:
    """Prints each tracked source file and folder that is too large. Returns 1 if there is one."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    files = [path for path in map(Path, listed.stdout.splitlines()) if path.suffix in SUFFIXES and path.exists()]
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    long_files = {path: lines for path, lines in sizes.items() if lines > MAX_LINES}
    for path, lines in long_files.items():
        print(f"{path}: {lines} lines, the limit is {MAX_LINES}: split it by purpose")
    counts = Counter(path.parent for path in files if path.suffix == ".py" and path.name != "__init__.py")
    full_folders = {path: count for path, count in counts.items() if count > MAX_FILES and path.parts[0] != "tests"}
    for path, count in full_folders.items():
        print(f"{path}: {count} Python files, the limit is {MAX_FILES}: divide it into rooms")
    longest, fullest = max(sizes, key=lambda path: sizes[path]), max(counts, key=lambda path: counts[path])
    print(f"largest file: {longest} ({sizes[longest]} lines); fullest folder: {fullest} ({counts[fullest]} files)")
    return 1 if long_files or full_folders else 0


if __name__ == "__main__":
    sys.exit(main())
