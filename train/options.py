"""The settings of one training run, as one frozen value that also travels in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """A run's settings. `size` is (height, width); `max_minutes` ends the run early but fully annealed.

    The network starts from the file `start` (a bundle's weights, or a backbone under timm's names), its backbone from
    timm's own published weights (`is_pretrained`), or all of it from scratch."""

    out: Path
    start: Path | None = None
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
    seed: int = 0
    head_weights: dict[str, float] = field(
        default_factory=lambda: {
            "articleType": 1.5,
            "baseColour": 1.0,
            "gender": 1.0,
            "usage": 0.4,
            "season": 0.3,
            "subCategory": 0.3,
            "masterCategory": 0.15,
        }
    )
