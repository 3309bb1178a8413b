"""A whole run in well under a minute: drawn data, a tiny network, a bundle at the end. Also the suite's test."""

from __future__ import annotations

from pathlib import Path

from train.data.drawn import write_catalogue, write_photos
from train.data.options import Options
from train.synthetic.tiny import ARCHITECTURE, SIZE

ORIGIN = """## Where it comes from

Drawn by code for a smoke test (`python -m train --smoke`): no photograph was used, and it knows no real article.
"""


def smoke_options(out: Path) -> Options:
    """A run of a few seconds that still learns the shapes drawn into `out`/drawn."""
    return Options(
        out=out,
        data=write_catalogue(out / "drawn" / "catalogue"),
        photos=write_photos(out / "drawn" / "photos"),
        architecture=ARCHITECTURE,
        size=SIZE,
        epochs=6,
        batch_size=16,
        photo_batch_size=8,
        learning_rate=4e-3,
        warm_up_steps=5,
        ema_decay=0.9,
        drop_path=0.0,
    )
