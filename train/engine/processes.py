"""Data-parallel training over one or several processes, started by `torchrun --nproc-per-node N -m train …`.

Every process holds the complete network and trains on its own share of each epoch's rows; gradients are averaged at
every step. Only the first process (rank 0) decides when to stop, writes checkpoints and exports.
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
    """This process's rank (0 to count - 1), the number of processes, and this process's device."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The module to call in training: averages gradients over the processes, and is compiled on a GPU."""
        wrapped: nn.Module = network
        if self.count > 1:
            wrapped = DistributedDataParallel(network, broadcast_buffers=False)
        return torch.compile(wrapped) if self.device.type == "cuda" else wrapped  # type: ignore[return-value]

    def broadcast(self, value: float) -> float:
        """The first process's value, in every process; their clocks differ, but they have to stop at the same step."""
        if self.count == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(message, src=0)
        return float(message)


SINGLE_PROCESS = Processes(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
"""Training without torchrun."""


@contextlib.contextmanager
def join_processes() -> Iterator[Processes]:
    """Join torchrun's process group, and leave it on exit. Without torchrun there is a single process."""
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
