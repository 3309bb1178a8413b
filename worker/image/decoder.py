"""Decodes the pictures of jobs: ordinary ones in this process, all others in child processes that can be killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from core.jobs.lifecycle import Claim
from core.settings import Settings
from model.nets.cores import available_cores
from model.predictor import Predictor
from worker.image.cost import Cost, count_cost
from worker.image.decode_limiter import DecodeLimiter
from worker.image.preprocess import ModelInput, preprocess
from worker.process.decode_processes import DecodeProcesses
from worker.process.watchdog import Hang

KILL_S = 10.0
"""After its deadline a child is killed; if even that hangs for this long, the worker exits."""


class Decoder:
    """Counts the cost of each picture, lets as many be decoded as memory allows, and decodes. Thread-safe.

    Ordinary pictures and the others wait separately, so that one that takes long delays none of the ordinary ones.
    """

    def __init__(self, settings: Settings, predictor: Predictor) -> None:
        self._limits = settings.decode
        self._predictor = predictor
        deadline_s = settings.worker.decode_deadline_s
        self._ordinary = DecodeLimiter(available_cores(), deadline_s)
        self._apart = DecodeLimiter(
            available_cores(), 2 * deadline_s + KILL_S, settings.decode.max_megapixels_in_flight
        )
        self._processes = DecodeProcesses(settings.decode, deadline_s)

    def start(self) -> None:
        """Starts a child process, so that the first picture which needs one does not wait for it."""
        self._processes.start()

    def close(self) -> None:
        """Kills all child processes."""
        self._processes.close()

    @contextlib.contextmanager
    def reserve(self, claim: Claim, data: bytes) -> Iterator[Callable[[], ModelInput]]:
        """Waits until the picture may be decoded, and yields the function that decodes it.

        The function raises UnsupportedMediaType, ImageTooLarge, ImageUndecodable, Poison; the first three are raised
        here already, without a wait, if the file's headers are enough.
        """
        cost = count_cost(data, self._limits)
        if cost.is_ordinary(self._limits):
            with self._ordinary.acquire(claim, cost.megapixels):
                yield lambda: preprocess(data, self._predictor, self._limits)
        else:
            with self._apart.acquire(claim, cost.megapixels):
                yield lambda: self._decode_apart(data, cost)

    def find_hang(self) -> Hang | None:
        """Returns a decode that nothing but the end of this process can stop, if any."""
        return self._ordinary.find_hang() or self._apart.find_hang()

    def _decode_apart(self, data: bytes, cost: Cost) -> ModelInput:
        target = max(self._predictor.bundle.size)
        received = self._processes.decode(data, target=target, megapixels=cost.megapixels)
        return ModelInput(self._predictor.preprocess(received.image), received.width, received.height, received.format)
