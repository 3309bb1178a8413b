"""The network's forward pass as one call that needs no Python until it returns.

Layer by layer, a forward pass asks for Python's global lock some three hundred times, and waits for it each time while
other threads fetch, decode and write answers: in a busy worker the same batch took two to three times as long. Traced
once, the operations are the same and so are the answers, but they run one after the other without the lock.

TorchScript is deprecated in favour of `torch.compile` and `torch.export`, which need a C++ compiler where the network
is loaded; the lock file pins a PyTorch that has it.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import torch

TRACED_BATCH = 2
CHECKED_BATCH = 3
"""Another than the traced one, so that a batch size baked into the trace shows."""
WARM_UPS = 2
"""Calls in which TorchScript looks at what comes, and after which it has settled on how to run it."""
TOLERANCE = 1e-4
"""In logits and features; on the same processor the difference is zero."""

NetworkOutput = tuple[dict[str, torch.Tensor], torch.Tensor]


class FeatureNetwork(Protocol):
    """What a predictor asks of a network."""

    def forward_with_features(self, images: torch.Tensor) -> NetworkOutput:
        """See `AttributeNetwork.forward_with_features`."""
        ...


class TracedNetwork:
    """FeatureNetwork what the network sees that was traced."""

    def __init__(self, graph: Any, names: tuple[str, ...], *, is_optimized: bool) -> None:
        self._graph, self._names, self._is_optimized = graph, names, is_optimized

    def forward_with_features(self, images: torch.Tensor) -> NetworkOutput:
        """N x 3 x H x W (normalised, channels last in memory) to logits, N x values each, and the feature map."""
        with torch.jit.optimized_execution(self._is_optimized):  # type: ignore[attr-defined]
            *logits, feature_map = self._graph(images)
        return dict(zip(self._names, logits, strict=True)), feature_map


def trace_network(network: FeatureNetwork, size: tuple[int, int], device: torch.device) -> FeatureNetwork:
    """The network (in evaluation mode, on `device`) as a trace; itself where that cannot be or answers differently.

    `size` is the input's (height, width).
    """
    with torch.inference_mode():
        try:
            candidate = _trace(network, _pictures(TRACED_BATCH, size, device))
            pictures = _pictures(CHECKED_BATCH, size, device)
            for _ in range(WARM_UPS):
                candidate.forward_with_features(pictures)
            is_same = _is_same(network.forward_with_features(pictures), candidate.forward_with_features(pictures))
        except (RuntimeError, TypeError):  # what no trace can hold, and a batch size that one held fast
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
        # What this one warns of, `traced` finds out.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        graph = torch.jit.trace(flat, pictures, check_trace=False)  # type: ignore[no-untyped-call]
    # On a GPU, optimizing means to compile kernels, anew for every batch size and while jobs wait.
    return TracedNetwork(graph, names, is_optimized=pictures.device.type == "cpu")


def _pictures(count: int, size: tuple[int, int], device: torch.device) -> torch.Tensor:
    drawn = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))
    return drawn.to(device, memory_format=torch.channels_last)


def _is_same(first: NetworkOutput, second: NetworkOutput) -> bool:
    pairs = [(first[1], second[1]), *((rows, second[0][name]) for name, rows in first[0].items())]
    return all(torch.allclose(one, other, rtol=0, atol=TOLERANCE) for one, other in pairs)
