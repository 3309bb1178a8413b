"""One training run over one process or several: `torchrun --nproc-per-node N -m train …` sets the second up.

Every process holds the whole network and its own share of each epoch's rows; gradients are averaged at every step.
The first process (rank 0) alone keeps the clock, writes checkpoints and exports.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process among those of the run: its `rank` of `count`, and its device."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network as it is called in training: averaging its gradients over the processes; compiled on a GPU."""
        called: nn.Module = network
        if self.count > 1:
            called = DistributedDataParallel(network, broadcast_buffers=False)
        return torch.compile(called) if self.device.type == "cuda" else called  # type: ignore[return-value]

    def broadcast(self, value: float) -> float:
        """The first process's value, in all of them: each has a clock of its own."""
        if self.count == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(message, src=0)
        return float(message)


SINGLE_PROCESS = Processes(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
"""A run of one process."""


@contextlib.contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the run's processes (alone without torchrun), and leave them at the end."""
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    is_cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(device)
    if count > 1:
        distributed.init_process_group("nccl" if is_cuda else "gloo")
    try:
        yield Processes(rank, count, device)
    finally:
        if count > 1:
            distributed.destroy_process_group()
