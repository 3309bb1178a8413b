"""The loads of the scenarios: the images that arrive per second and lane, and the outages of Redis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from core.states import Lane

HOUR = 3600
Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Load:
    """The load of one scenario. `arrivals` has the number of new images per second, for each lane."""

    name: str
    story: str
    arrivals: dict[Lane, list[int]]
    redis_away: tuple[int, int] = (0, 0)
    """Start and end of an outage of Redis, in seconds."""

    @property
    def duration_s(self) -> int:
        return len(self.arrivals[Lane.INTERACTIVE])

    @property
    def images(self) -> int:
        return sum(sum(each) for each in self.arrivals.values())


def _load(name: str, story: str, interactive: Counts, bulk: Counts, redis_away: tuple[int, int] = (0, 0)) -> Load:
    return Load(name, story, {Lane.INTERACTIVE: interactive.tolist(), Lane.BULK: bulk.tolist()}, redis_away)


def _sometimes(random: np.random.Generator, duration_s: int, every_s: float, images: int) -> Counts:
    """Returns arrivals of `images` at once, at random times, on average every `every_s` seconds."""
    return (random.random(duration_s) < 1 / every_s).astype(np.int64) * images


def steady(rate: float, random: np.random.Generator) -> Load:
    """A constant rate for three hours, with an import about every ten minutes."""
    seconds = 3 * HOUR
    imports = _sometimes(random, seconds, 600, round(rate * 60))
    return _load("steady", f"{rate:g}/s for 3 h, imports of {rate * 60:g}", random.poisson(rate, seconds), imports)


def daily(rate: float, random: np.random.Generator) -> Load:
    """A day with little load at night and the full rate in the afternoon. At 2:00, an hour's worth is imported."""
    seconds = 24 * HOUR
    hour = np.arange(seconds) / HOUR
    wave = 0.01 + 0.99 * np.clip(np.sin((hour - 7) / 15 * np.pi), 0, None) ** 2
    imports = np.zeros(seconds, dtype=np.int64)
    imports[2 * HOUR] = round(rate * HOUR)
    story = f"a day between {rate / 100:g} and {rate:g}/s, {rate * HOUR:g} imported at 2:00"
    return _load("daily", story, random.poisson(rate * wave), imports)


def flash(rate: float, random: np.random.Generator) -> Load:
    """A sale: fifty times the rate, suddenly, for ten minutes, then a decay."""
    seconds = 4 * HOUR
    since = np.arange(seconds) - HOUR
    peak = np.where(since < 0, 0.0, np.where(since < 600, 49.0, 49.0 * np.exp(-(since - 600) / 300)))
    arrivals = random.poisson(rate * (1 + peak))
    return _load("flash", f"{rate:g}/s, then {rate * 50:g}/s for 10 min", arrivals, np.zeros(seconds, dtype=np.int64))


def million(rate: float, random: np.random.Generator) -> Load:
    """A batch of a million images, published at once, in addition to a tenth of the rate."""
    seconds = 2 * HOUR
    bulk = np.zeros(seconds, dtype=np.int64)
    bulk[600] = 1_000_000
    return _load("million", f"a million at once beside {rate / 10:g}/s", random.poisson(rate / 10, seconds), bulk)


def trickle(rate: float, random: np.random.Generator) -> Load:
    """One image every few minutes and a small import every few hours, for a day. Ignores the rate."""
    seconds = 24 * HOUR
    imports = _sometimes(random, seconds, 3 * HOUR, 200)
    return _load("trickle", "an image every 8 min, 200 every 3 h", _sometimes(random, seconds, 480, 1), imports)


def outage(rate: float, random: np.random.Generator) -> Load:
    """A constant rate, with an outage of Redis for five minutes."""
    seconds = 2 * HOUR
    away = (HOUR, HOUR + 300)
    bulk = _sometimes(random, seconds, 600, round(rate * 60))
    return _load("outage", f"{rate:g}/s, Redis away for 5 min", random.poisson(rate, seconds), bulk, away)


SCENARIOS: dict[str, Callable[[float, np.random.Generator], Load]] = {
    each.__name__: each for each in (steady, daily, flash, million, trickle, outage)
}


def make(name: str, rate: float, seed: int) -> Load:
    """Returns the load of the scenario. The same seed gives the same load."""
    return SCENARIOS[name](rate, np.random.default_rng([seed, sorted(SCENARIOS).index(name)]))
