"""The jobs that flow: good ones and a known share of bad ones, sent until the API has taken each."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import urllib3

from tests import pictures
from tests.image_server import ImageServer

BAD = {
    "/status/404": "not_found",
    "/status/403": "access_denied",
    "/html": "unsupported_media_type",
    "/truncated": "image_undecodable",
}
SENDERS = 6
PAUSE_S = 0.2


@dataclass(frozen=True)
class Order:
    """One job to send. `expected` is how it has to end: "succeeded", or the code that it has to fail under."""

    number: int
    path: str | None  # None: the picture itself is uploaded
    lane: str
    expected: str


def orders(seed: int, count: int) -> list[Order]:
    """One in eight is bad, one in four an upload (each of its own bytes), a half goes to the bulk lane."""
    dice, made = random.Random(seed), []
    for number in range(count):
        lane = dice.choice(("interactive", "bulk"))
        if dice.random() < 0.125:
            path = dice.choice(list(BAD))
            made.append(Order(number, path, lane, BAD[path]))
        elif dice.random() < 0.25:
            made.append(Order(number, None, lane, "succeeded"))
        else:
            made.append(Order(number, f"/good.jpg?{number}", lane, "succeeded"))
    return made


class Load:
    """Sends orders side by side, at most `ahead` more than have ended, and remembers what was accepted."""

    def __init__(self, base: str, images: ImageServer, seed: int, ahead: int) -> None:
        self.accepted: dict[UUID, Order] = {}
        self.wrong: list[str] = []
        self.is_done = False
        self._base, self._images, self._seed = base, images, seed
        self._room = threading.Semaphore(ahead)
        self._http = urllib3.PoolManager(maxsize=SENDERS)
        self._stopping = threading.Event()

    def send_all(self, every: list[Order]) -> None:
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(self._send, every))
        self.is_done = True

    def ended(self, count: int) -> None:
        """So many more jobs have ended: as many may be sent."""
        if count > 0:
            self._room.release(count)

    def stop(self) -> None:
        """Give up what was not accepted yet."""
        self._stopping.set()
        self._room.release(10**6)

    def _send(self, order: Order) -> None:
        self._room.acquire()
        while not self._stopping.is_set():
            try:
                answer = self._post(order)
            except urllib3.exceptions.HTTPError:
                self._stopping.wait(PAUSE_S)  # the API is away, or its answer was lost: the key makes a repeat safe
                continue
            if answer.status in {429, 503}:
                self._stopping.wait(PAUSE_S)
                continue
            if answer.status in {200, 202}:
                self.accepted[UUID(answer.json()["id"])] = order
            else:
                self.wrong.append(f"order {order.number} was answered {answer.status}: {answer.data[:200]!r}")
            return

    def _post(self, order: Order) -> urllib3.BaseHTTPResponse:
        headers = {"Idempotency-Key": f"chaos-{self._seed}-{order.number}"}
        url, limits = f"{self._base}/v1/jobs", urllib3.Timeout(connect=2, read=20)
        if order.path is None:
            data = pictures.jpeg() + order.number.to_bytes(4, "big")  # bytes after its end make it another picture
            fields = {"file": ("a.jpg", data, "image/jpeg"), "lane": order.lane}
            return self._http.request("POST", url, fields=fields, headers=headers, timeout=limits, retries=False)
        body = {"url": self._images.url(order.path), "lane": order.lane}
        return self._http.request("POST", url, json=body, headers=headers, timeout=limits, retries=False)
