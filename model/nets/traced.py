"""The network's forward pass as a TorchScript trace, which runs without Python's global lock.

An eager forward pass acquires the lock some three hundred times, and waits for it while other threads fetch, decode and
write answers: in a busy worker the same batch took two to three times as long. A trace runs the same operations without
the lock.

TorchScript is deprecated in favour of `torch.compile` and `torch.export`, but those need a C++ compiler on the serving
machine. The lock file pins a PyTorch version that has TorchScript.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import torch

TRACED_BATCH = 2
CHECKED_BATCH = 3
"""Differs from the traced batch size, to detect a trace with a fixed batch size."""

WARM_UPS = 2
"""Number of calls in which TorchScript profiles and optimises the graph."""

TOLERANCE = 1e-4
"""Allowed difference of logits and features; on the same processor it is zero."""

NetworkOutput = tuple[dict[str, torch.Tensor], torch.Tensor]
"""Logits, N x values per head, and the last feature map, N x features x h x w."""


class FeatureNetwork(Protocol):
    """The interface that the predictor needs of a network."""

    def forward_with_features(self, images: torch.Tensor) -> NetworkOutput:
        """See `AttributeNetwork.forward_with_features`."""
        ...


class TracedNetwork:
    """A trace with the interface of the traced network; `names` are the keys of its logits."""

    def __init__(self, graph: Any, names: tuple[str, ...], *, is_optimized: bool) -> None:
        self._graph, self._names, self._is_optimized = graph, names, is_optimized

    def forward_with_features(self, images: torch.Tensor) -> NetworkOutput:
        """See `AttributeNetwork.forward_with_features`; `images` must be in channels-last memory format."""
        with torch.jit.optimized_execution(self._is_optimized):  # type: ignore[attr-defined]
            *logits, feature_map = self._graph(images)
        return dict(zip(self._names, logits, strict=True)), feature_map


def trace_network(network: FeatureNetwork, size: tuple[int, int], device: torch.device) -> FeatureNetwork:
    """A trace of the network, or the network itself if it cannot be traced or the trace's outputs differ.

    The network has to be in evaluation mode and on `device`; `size` is the input's (height, width).
    """
    with torch.inference_mode():
        try:
            candidate = _trace(network, _pictures(TRACED_BATCH, size, device))
            pictures = _pictures(CHECKED_BATCH, size, device)
            for _ in range(WARM_UPS):
                candidate.forward_with_features(pictures)
            is_same = _is_same(network.forward_with_features(pictures), candidate.forward_with_features(pictures))
        except (RuntimeError, TypeError):  # outputs that cannot be traced, or a fixed batch size
            return network
        return candidate if is_same else network


def _trace(network: FeatureNetwork, pictures: torch.Tensor) -> TracedNetwork:
    names: tuple[str, ...] = ()

    def flat(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal names
        logits, feature_map = network.forward_with_features(images)
        names = tuple(logits)
        return (*logits.values(), feature_map)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # `trace_network` checks the outputs, so tracer warnings can be ignored.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        graph = torch.jit.trace(flat, pictures, check_trace=False)  # type: ignore[no-untyped-call]
    # On a GPU, optimisation would compile kernels again for every batch size, while jobs wait.
    return TracedNetwork(graph, names, is_optimized=pictures.device.type == "cpu")


def _pictures(count: int, size: tuple[int, int], device: torch.device) -> torch.Tensor:
    drawn = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))
    return drawn.to(device, memory_format=torch.channels_last)


def _is_same(first: NetworkOutput, second: NetworkOutput) -> bool:
    pairs = [(first[1], second[1]), *((rows, second[0][name]) for name, rows in first[0].items())]
    return all(torch.allclose(one, other, rtol=0, atol=TOLERANCE) for one, other in pairs)
