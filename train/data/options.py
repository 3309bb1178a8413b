"""The settings of one training run, as one frozen value that also travels in the run's folder."""

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
"""Labels of one product group may disagree ("Flats" and "Heels"), and a few large groups then decide a figure: between
two splits of nine hundred groups the precision of answered types differed by five points; bounds say two."""


@dataclass(frozen=True)
class Options:
    """A run's settings. `size` is (height, width); `max_minutes` ends the run early but fully annealed.

    `data` is a folder or a CSV file (see `train.data.catalogue`), `taxonomy` a file that names the heads and their
    values (None: the client's, counted from the rows), `others` a folder of pictures that show no product. The network
    starts from the file `start` (a bundle's weights, or a backbone under timm's names), its backbone from timm's own
    published weights (`is_pretrained`), or all of it from scratch. `head_weights` are those of the losses, `precisions`
    what the thresholds have to keep; attributes they do not name get 1 (derived levels .3) and .90. `margins` are added
    to those precisions when thresholds are chosen, where val is known to flatter. `mixup` is the alpha of Beta(alpha,
    alpha), with which catalogue images are mixed in pairs (arXiv 1710.09412); 0 disables mixup. `teachers` are bundles
    that are distilled into the network with the share `teaching` of the loss; within it, their pooled features
    have the weight `feature_weight`.
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
    warm_up_steps: int = 300
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
        """Raises ValueError or TypeError where the text is not that of a run's settings."""
        data: dict[str, Any] = json.loads(text)
        paths = {name: Path(data[name]) if data.get(name) else None for name in PATHS}
        teachers = tuple(Path(folder) for folder in data.get("teachers", ()))
        sequences = {"columns": Columns(**data["columns"]), "size": tuple(data["size"]), "teachers": teachers}
        return cls(**(data | paths | sequences))
