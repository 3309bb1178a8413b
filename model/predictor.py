"""The predictor: answers images with a loaded bundle. A worker process has one.

`preprocess` is thread-safe; call `predict` and `warm_up` from one thread only.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.answer import Answer, make_answer
from model.bundle import Bundle, BundleError, load_bundle
from model.captions.captioner import Captioner, StructuredCaptioner
from model.nets.cores import available_cores
from model.nets.folding import prepare_for_serving
from model.nets.network import DOMAIN
from model.nets.traced import TracedNetwork, trace_network
from model.preprocessing import Pixels, fit, stack, to_input
from model.scoring import predictions_from, scores_from

CAPTION_BUDGET_MS = 300.0


class Predictor:
    """Answers images with one bundle on one device."""

    def __init__(self, bundle: Bundle, device: torch.device, captioner: Captioner | None = None) -> None:
        self.bundle = bundle
        self.device = device
        self._captioner = captioner or make_captioner(bundle, device)
        self._network = trace_network(
            prepare_for_serving(bundle.network(), bundle.size).to(device), bundle.size, device
        )

    @classmethod
    def load(
        cls,
        folder: Path | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        caption_budget_ms: float = CAPTION_BUDGET_MS,
    ) -> Predictor:
        """Load a bundle (default: the shipped one) and set PyTorch's thread count for the whole process.

        `device` is "auto" (CUDA if available), "cpu" or "cuda". `threads` is limited to the available cores.
        `caption_budget_ms` limits the captioner's time per batch; 0 disables the captioner. Raises BundleError.
        """
        cores = available_cores()
        torch.set_num_threads(max(1, min(threads or cores, cores)))
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        bundle, torch_device = load_bundle(folder), torch.device(chosen)
        return cls(bundle, torch_device, make_captioner(bundle, torch_device, caption_budget_ms))

    @property
    def is_traced(self) -> bool:
        """Whether the forward pass runs without Python's global lock; otherwise other threads slow it down."""
        return isinstance(self._network, TracedNetwork)

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize a decoded image to the network's input, uint8 height x width x 3. Thread-safe; does not use torch."""
        return fit(image, self.bundle.size)

    def predict(self, batch: Sequence[Pixels]) -> list[Answer]:
        """One answer per preprocessed image, in order, independent of the other images of the batch.

        Raises ValueError if an array does not have the shape and dtype of `preprocess`.
        """
        if not batch:
            return []
        self._check(batch)
        with torch.inference_mode():
            images = to_input(stack(batch).to(self.device), self.bundle.mean, self.bundle.std)
            logits, feature_map = self._network.forward_with_features(images)
            scores = scores_from(logits, self.bundle.taxonomy, self.bundle.calibration, self.bundle.photo_factor)
            domain = logits.get(DOMAIN)
            predictions = predictions_from(scores, self.bundle.taxonomy, self.bundle.calibration, domain)
            began = time.perf_counter()
            captions = self._captioner.caption(predictions, feature_map)
        caption_ms = (time.perf_counter() - began) * 1000
        in_domain = [None] * len(batch) if domain is None else torch.sigmoid(domain).tolist()
        return [
            dataclasses.replace(
                make_answer(found, caption.text, caption.source),
                is_degraded=caption.is_degraded,
                caption_ms=caption_ms,
                in_domain=probability,
                embedding=caption.embedding,
            )
            for found, caption, probability in zip(predictions, captions, in_domain, strict=True)
        ]

    def warm_up(self) -> None:
        """Predict blank images, so that the first real batch does not wait for kernels and memory allocation."""
        blank = np.full((*self.bundle.size, 3), 255, dtype=np.uint8)
        for count in (1, 8):
            answers = self.predict([blank] * count)
            if len(answers) != count:
                raise RuntimeError(f"{count} images gave {len(answers)} answers")

    def _check(self, batch: Sequence[Pixels]) -> None:
        shape = (*self.bundle.size, 3)
        for array in batch:
            if array.shape != shape or array.dtype != np.uint8:
                raise ValueError(f"expected uint8 {shape}, got {array.dtype} {array.shape}")


def make_captioner(bundle: Bundle, device: torch.device, budget_ms: float = CAPTION_BUDGET_MS) -> Captioner:
    """The bundle's captioner; one that writes structured text if the bundle has none or `budget_ms` is 0."""
    if bundle.captioner is None or budget_ms <= 0:
        return StructuredCaptioner(bundle.taxonomy)
    # Imported here because transformers takes seconds to import, and most processes do not need it.
    from model.captions.writer import DecoderCaptioner

    try:
        return DecoderCaptioner(bundle.captioner, bundle.taxonomy, device, budget_ms / 1000)
    except (RuntimeError, ValueError, KeyError) as error:
        raise BundleError(f"the bundle's captioner does not fit its configuration: {error!r}") from error
