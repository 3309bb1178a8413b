"""Files of a run's folder: `run.json` with the settings, and the last checkpoint, to resume or export from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from model.nets.network import AttributeNetwork
from train.data.options import Options

CHECKPOINT, RUN = "checkpoint.pt", "run.json"


@dataclass
class Clock:
    """Progress of a run: complete epochs, steps, and seconds spent in training, summed over resumed runs."""

    epoch: int = 0
    step: int = 0
    spent_s: float = 0.0


def save_checkpoint(
    out: Path,
    network: AttributeNetwork,
    average: AttributeNetwork,
    optimizer: torch.optim.Optimizer,
    clock: Clock,
) -> None:
    """Write everything that resuming needs. The file is replaced atomically, so a kill leaves the previous one."""
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "clock": list(dataclasses.astuple(clock)),
    }
    unfinished = out / f"{CHECKPOINT}.part"
    torch.save(state, unfinished)
    unfinished.replace(out / CHECKPOINT)


def load_checkpoint(
    out: Path,
    network: AttributeNetwork,
    average: AttributeNetwork,
    optimizer: torch.optim.Optimizer,
) -> Clock:
    """Restore the last checkpoint into the given objects. Raises FileNotFoundError if there is none."""
    state = torch.load(out / CHECKPOINT, weights_only=True, map_location="cpu")
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return Clock(*state["clock"])


def load_average(out: Path) -> dict[str, torch.Tensor]:
    """The averaged network's weights from the last checkpoint, auxiliary heads included. Raises FileNotFoundError."""
    weights: dict[str, torch.Tensor] = torch.load(out / CHECKPOINT, weights_only=True, map_location="cpu")["average"]
    return weights


def save_options(options: Options) -> None:
    """Write the settings to the run's folder."""
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / RUN).write_text(options.to_json(), encoding="utf-8")


def load_options(out: Path) -> Options:
    """Read the settings from a run's folder. Raises FileNotFoundError."""
    options = Options.from_json((out / RUN).read_text(encoding="utf-8"))
    return dataclasses.replace(options, out=out)
