"""Mutated pictures through the worker's own decoding, in a process of their own: a crash there is a death counted here.

`python -m tests.fuzz.decoding SEED COUNT` prints one JSON object: what was decoded, refused (by code), raised besides,
and the process's memory after a tenth of the pictures and at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from core.errors import EnrichError
from core.settings import DecodeSettings
from model.preprocessing import fit
from tests.fuzz.mutations import mutated
from tests.processes import ROOT
from worker.image.decode import decode

CODES = {"image_undecodable", "unsupported_media_type", "image_too_large"}
SIZE = (128, 96)
# A side of 2,000 pixels holds all that is drawn here; larger claims must be refused before a pixel is decoded.
LIMITS = DecodeSettings(max_pixels=4_000_000, max_side=4000)


@dataclass(frozen=True)
class Outcome:
    """What became of the pictures. `surprises` are exceptions that are no refusal of ours, with the number."""

    images: int
    decoded: int
    refused: dict[str, int]
    surprises: list[str]
    deaths: int
    rss_start_mib: float
    rss_end_mib: float

    @property
    def growth(self) -> float:
        return self.rss_end_mib / self.rss_start_mib - 1 if self.rss_start_mib else 0.0


def decode_apart(seed: int, count: int) -> Outcome:
    """Decode pictures 0 to `count` in a child process."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.decoding", str(seed), str(count)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        return Outcome(count, 0, {}, [f"exit status {child.returncode}: {child.stderr[-500:]}"], 1, 0, 0)
    return Outcome(**json.loads(child.stdout.splitlines()[-1]))


def decode_here(seed: int, count: int) -> Outcome:
    """The same in this process."""
    refused: Counter[str] = Counter()
    decoded, surprises, start = 0, [], 0.0
    for number in range(count):
        if number == count // 10:
            start = resident_mib()
        try:
            fit(decode(mutated(seed, number), LIMITS, target=max(SIZE)).image, SIZE)
            decoded += 1
        except EnrichError as error:
            refused[error.code] += 1
        except Exception as error:  # noqa: BLE001 - anything else would fail the job as our fault: that is what is looked for
            surprises.append(f"{number}: {error!r}"[:200])
    return Outcome(count, decoded, dict(refused), surprises, 0, start, resident_mib())


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    print(json.dumps(decode_here(int(sys.argv[1]), int(sys.argv[2])).__dict__))
