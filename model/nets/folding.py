"""The network as it is served: batch normalisation folded into the convolution before it, channels last.

In evaluation a batch norm only scales and shifts channels, which the convolution's own weights can do (Jacob et al.,
arXiv 1712.05877, section 3.2). Both together halve what the companion costs on a CPU. A ConvNeXt has nothing to fold.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.nets.network import AttributeNetwork

TOLERANCE = 1e-3
"""In logits: moves no score by .001."""


def prepare_for_serving(network: AttributeNetwork, size: tuple[int, int]) -> AttributeNetwork:
    """A folded copy of a network in evaluation mode; the network itself where the copy would answer differently.

    `size` is the input's (height, width). Folding trusts that a module calls its children in the order it lists them,
    as timm's do; a random picture is the check.
    """
    candidate = copy.deepcopy(network)
    fold(candidate)
    picture = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = network(picture), candidate(picture)
    is_same = all(torch.allclose(before[name], after[name], rtol=0, atol=TOLERANCE) for name in before)
    return (candidate if is_same else network).to(memory_format=torch.channels_last)


def fold(module: nn.Module) -> int:
    """Fold every batch norm that is listed right after a convolution of its width, in place; returns how many."""
    folded = 0
    for parent in list(module.modules()):
        for (first, convolution), (second, norm) in itertools.pairwise(list(parent.named_children())):
            if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                continue
            if convolution.out_channels == norm.num_features:
                setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, second, _drop_and_activation(norm))
                folded += 1
    return folded


def _drop_and_activation(norm: nn.Module) -> nn.Module:
    """What a norm of timm's does after normalising: dropout and activation."""
    parts = (getattr(norm, name, None) for name in ("drop", "act"))
    return nn.Sequential(*[part for part in parts if isinstance(part, nn.Module)])
