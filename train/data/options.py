"""The settings of a training run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.taxonomy import Taxonomy
from train.data.catalogue import Columns

PATHS = ("out", "data", "photos", "taxonomy", "photo_labels", "others", "start")
HEAD_WEIGHT, DERIVED_WEIGHT = 1.0, 0.3
HEAD_WEIGHTS = {
    "articleType": 1.5,
    "baseColour": 1.0,
    "gender": 1.0,
    "usage": 0.4,
    "season": 0.3,
    "subCategory": 0.3,
    "masterCategory": 0.15,
}
PRECISIONS = {
    "gender": 0.95,
    "usage": 0.95,
    "subCategory": 0.95,
    "masterCategory": 0.95,
    "articleType": 0.90,
    "baseColour": 0.80,
    "season": 0.80,
}
MARGINS = {"articleType": 0.02}
"""Margins on target precisions. Labels within a product group may disagree ("Flats" and "Heels"), so a few large groups
dominate a metric: between two splits of nine hundred groups the precision of answered types differed by five points,
where the bounds predict two."""


@dataclass(frozen=True)
class Options:
    """The settings of a training run, written to the run's folder as `run.json`.

    Data: `data` is a folder or a CSV file (see `train.data.catalogue`); `taxonomy` is a taxonomy file, without which
    the client's taxonomy is counted from the training rows; `others` is a folder of images without a product.

    Network: `size` is (height, width). Weights start from `start` (a bundle's folder, or a file with the weights of a
    bundle or of a backbone with timm's names), from timm's pretrained backbone if `is_pretrained`, or from scratch.

    Schedule: `max_minutes` is a time limit; the learning rate is annealed to fit it. `warm_up` is the share of the run,
    0 to 1, in which the rate rises.

    Losses: `head_weights` default to 1, and to .3 for derived levels. `mixup` is alpha of Beta(alpha, alpha), with
    which catalogue images are mixed in pairs (arXiv 1710.09412); 0 disables mixup. `teachers` are bundles to distil
    from; `teaching` is the share of distillation in the loss, and `feature_weight` the weight of their pooled features
    in it.

    Thresholds: `precisions` are target precisions, default .90. `margins` are added to them when thresholds are chosen,
    for attributes whose precision `val` overestimates.
    """

    out: Path
    data: Path
    photos: Path | None = None
    taxonomy: Path | None = None
    photo_labels: Path | None = None
    others: Path | None = None
    columns: Columns = field(default_factory=Columns)
    start: Path | None = None
    teachers: tuple[Path, ...] = ()
    is_pretrained: bool = False
    architecture: str = "convnext_atto_ols"
    size: tuple[int, int] = (96, 72)
    epochs: int = 25
    max_minutes: float | None = None
    batch_size: int = 128
    photo_batch_size: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05
    ema_decay: float = 0.999
    drop_path: float = 0.05
    smoothing: float = 0.05
    photo_weight: float = 0.7
    word_weight: float = 0.3
    mixup: float = 0.0
    teaching: float = 0.7
    feature_weight: float = 3.0
    seed: int = 0
    head_weights: Mapping[str, float] = field(default_factory=lambda: dict(HEAD_WEIGHTS))
    precisions: Mapping[str, float] = field(default_factory=lambda: dict(PRECISIONS))
    margins: Mapping[str, float] = field(default_factory=lambda: dict(MARGINS))

    def weight_of(self, name: str, taxonomy: Taxonomy) -> float:
        """The weight of an attribute's loss."""
        return self.head_weights.get(name, DERIVED_WEIGHT if name in taxonomy.derived else HEAD_WEIGHT)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Read the text of `to_json`. Raises ValueError or TypeError if it is not a run's settings."""
        data: dict[str, Any] = json.loads(text)
        data.pop("warm_up_steps", None)  # of runs before the warm-up was a share of the run
        paths = {name: Path(data[name]) if data.get(name) else None for name in PATHS}
        teachers = tuple(Path(folder) for folder in data.get("teachers", ()))
        sequences = {"columns": Columns(**data["columns"]), "size": tuple(data["size"]), "teachers": teachers}
        return cls(**(data | paths | sequences))
