"""Bundles: folders with everything needed to answer images.

    weights.safetensors    the network's weights, half precision
    bundle.json            format, architecture, sizes, temperatures, thresholds, digests, metrics
    taxonomy.json          attributes, values and tree
    MODEL_CARD.md          description and metrics
    captioner.safetensors, captioner.json, tokenizer.json    the captioner, if the bundle has one

Loading checks the SHA-256 digests of weights, taxonomy and captioner, and never reads a pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.captions.caption_parts import CaptionerParts
from model.nets.network import PHOTO_HEAD, PHOTO_PREFIX, AttributeNetwork
from model.taxonomy import Taxonomy

FORMAT = 4
READABLE = (1, 2, 3, FORMAT)
"""Format 1 lacks softness and the in_domain head, format 2 the companion, format 3 heads for photos."""

WEIGHTS, CONFIG, TAXONOMY, CARD = "weights.safetensors", "bundle.json", "taxonomy.json", "MODEL_CARD.md"
CAPTIONER = ("captioner.safetensors", "captioner.json", "tokenizer.json")
SHIPPED = Path(__file__).parent / "bundles" / "fashion"
ALWAYS_ABSTAIN = 1.01
"""The threshold of an attribute whose target precision could not be reached."""


class BundleError(Exception):
    """Raised if a bundle is missing, damaged or inconsistent; the message names the file and the problem."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of one attribute: scores are softmax(logits / temperature); below `threshold` there is no answer.

    The temperature is multiplied by softness ** (1 - best score), so a `softness` above 1 lowers uncertain scores
    further. `precision` is the target that the threshold was chosen for. Scores of derived levels are sums over the
    deepest level, so their temperature is not used. For customer photos the temperature is multiplied by
    `photo_factor`, or by the bundle's if the attribute has none of its own.
    """

    temperature: float
    threshold: float
    precision: float
    softness: float = 1.0
    photo_factor: float | None = None

    def to_json(self) -> dict[str, float]:
        """The values that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Companion:
    """A second backbone (timm model name) whose probabilities have the weight `share`, 0 to 1, in the average."""

    architecture: str
    share: float


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    `weights` are float32; names of the companion's begin with "companion.". `size` is (height, width) in pixels, `mean`
    and `std` normalise RGB values in 0..1. `card` is the model card's Markdown. `training` is a record of the run
    (columns, split, seed, thresholds), so that evaluation reads a table in the same way; older bundles have none.
    """

    name: str
    version: str
    architecture: str
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    calibration: dict[str, Calibration]
    photo_factor: float
    taxonomy: Taxonomy
    weights: dict[str, torch.Tensor]
    created: str
    metrics: dict[str, Any]
    card: str
    captioner: CaptionerParts | None = None
    companion: Companion | None = None
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def architectures(self) -> str:
        """The timm model names of all backbones, e.g. "convnext_atto_ols + tf_efficientnet_lite0"."""
        return " + ".join([self.architecture, *([self.companion.architecture] if self.companion else [])])

    def network(self) -> AttributeNetwork:
        """The network in evaluation mode, with this bundle's weights. Raises BundleError if they do not fit."""
        outputs = {name: len(values) for name, values in self.taxonomy.attributes.items()}
        try:
            inputs = self.weights["domain.centre"].numel() if "domain.centre" in self.weights else 0
            ends = [name.removeprefix(PHOTO_PREFIX) for name in self.weights if name.startswith(PHOTO_PREFIX)]
            network = AttributeNetwork(
                self.architecture,
                outputs | {PHOTO_HEAD: 1},
                domain_inputs=inputs,
                companion=self.companion.architecture if self.companion else "",
                companion_share=self.companion.share if self.companion else 0.0,
                photo_heads=sorted({end.rpartition(".")[0] for end in ends}),
            )
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise BundleError(f"{WEIGHTS} does not fit {self.architectures} and the taxonomy: {error}") from error
        return network.eval().requires_grad_(False)


def load_bundle(folder: Path | None = None) -> Bundle:
    """Read and check a bundle; the default is the shipped one. Raises BundleError."""
    folder = folder or SHIPPED
    config = _read_json(folder / CONFIG)
    if config.get("format") not in READABLE:
        raise BundleError(f"{CONFIG} has format {config.get('format')!r}; this release reads {READABLE}")
    try:
        for file in (WEIGHTS, TAXONOMY):
            _check_digest(folder / file, config["sha256"][file])
        has_captioner = CAPTIONER[0] in config["sha256"]
        taxonomy = Taxonomy.from_json(_read_json(folder / TAXONOMY))
        return Bundle(
            name=config["name"],
            version=config["version"],
            architecture=config["architecture"],
            size=_pair(config["size"]),
            mean=_triple(config["mean"]),
            std=_triple(config["std"]),
            calibration=_calibration(config["calibration"], taxonomy),
            photo_factor=float(config["photo_factor"]),
            taxonomy=taxonomy,
            weights={name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()},
            created=config["created"],
            metrics=config["metrics"],
            card=_read_text(folder / CARD),
            captioner=_load_captioner(folder, config["sha256"]) if has_captioner else None,
            companion=_companion(config.get("companion")),
            training=dict(config.get("training") or {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise BundleError(f"the bundle in {folder.name} is incomplete or invalid: {error!r}") from error


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle's files, creating the folder if needed. Files of a previous captioner are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_weights(bundle.weights, folder / WEIGHTS)
    files = [WEIGHTS, TAXONOMY, *(CAPTIONER if bundle.captioner else ())]
    for file in CAPTIONER:
        (folder / file).unlink(missing_ok=True)
    if bundle.captioner:
        _save_captioner(bundle.captioner, folder)
    bundle.taxonomy.save(folder / TAXONOMY)
    (folder / CARD).write_text(bundle.card, encoding="utf-8")
    config = {
        "format": FORMAT,
        "name": bundle.name,
        "version": bundle.version,
        "architecture": bundle.architecture,
        "companion": asdict(bundle.companion) if bundle.companion else None,
        "size": bundle.size,
        "mean": bundle.mean,
        "std": bundle.std,
        "calibration": {name: calibration.to_json() for name, calibration in bundle.calibration.items()},
        "photo_factor": bundle.photo_factor,
        "created": bundle.created,
        "sha256": {file: _digest(folder / file) for file in files},
        "metrics": bundle.metrics,
        "training": bundle.training,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _load_captioner(folder: Path, digests: Mapping[str, str]) -> CaptionerParts:
    for file in CAPTIONER:
        _check_digest(folder / file, digests[file])
    weights, description, tokenizer = (folder / file for file in CAPTIONER)
    halves = load_file(weights)
    tensors = {name: tensor.float() for name, tensor in halves.items()}
    return CaptionerParts.from_json(_read_json(description), tensors, _read_text(tokenizer))


def _save_captioner(captioner: CaptionerParts, folder: Path) -> None:
    weights, description, tokenizer = (folder / file for file in CAPTIONER)
    _save_weights(captioner.weights, weights)
    description.write_text(json.dumps(captioner.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")
    tokenizer.write_text(captioner.tokenizer, encoding="utf-8")


def _save_weights(weights: Mapping[str, torch.Tensor], file: Path) -> None:
    save_file({name: tensor.detach().to(torch.float16).contiguous() for name, tensor in weights.items()}, file)
    file.chmod(0o644)  # safetensors creates it for the owner only; servers often run as another user


def _calibration(data: Mapping[str, Mapping[str, float]], taxonomy: Taxonomy) -> dict[str, Calibration]:
    if set(data) != set(taxonomy.values):
        raise BundleError(
            f"{CONFIG} has calibrations for {sorted(data)}, but the taxonomy has {sorted(taxonomy.values)}"
        )
    return {name: Calibration(**{key: float(number) for key, number in row.items()}) for name, row in data.items()}


def _companion(data: Mapping[str, Any] | None) -> Companion | None:
    if data is None:
        return None
    share = float(data["share"])
    if not 0 <= share <= 1:
        raise BundleError(f"the companion's share in {CONFIG} is {share}, which is not between 0 and 1")
    return Companion(str(data["architecture"]), share)


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(f"the bundle's {file.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"the bundle's {file.name} is not text") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(_read_text(file))
    except json.JSONDecodeError as error:
        raise BundleError(f"the bundle's {file.name} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise BundleError(f"the bundle's {file.name} is not a JSON object")
    return data


def _check_digest(file: Path, expected: str) -> None:
    if not file.is_file():
        raise BundleError(f"the bundle's {file.name} is missing")
    if _digest(file) != expected:
        raise BundleError(f"the bundle's {file.name} is damaged: its SHA-256 digest differs from the one in {CONFIG}")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _pair(values: list[int]) -> tuple[int, int]:
    height, width = values
    return int(height), int(width)


def _triple(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
