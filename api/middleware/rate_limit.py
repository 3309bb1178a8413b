"""How many requests a key may make: a token bucket per key in Redis, shared by all processes.

The bucket is kept as one number, the moment at which it is full again (the "generic cell rate algorithm"), in one
script and so one round trip. The package `limits` has no bucket, needs a second question for `Retry-After`, and its
Redis extra excludes redis-py 8.

Redis is a help here, not a condition: when it does not answer within a tenth of a second nobody is limited, and for
some seconds nobody asks it.
"""

from __future__ import annotations

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.circuit_breaker import Breaker
from core.settings import Settings
from core.telemetry.logs import get_logger

log = get_logger(__name__)

TIMEOUT_S = 0.1
REST_S = 5.0

# Times are microseconds of Redis's own clock: the clocks of the processes may differ. Answers the wait, 0 = go on.
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local step, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + step
if full_at - now > depth then return math.ceil(full_at - now - depth) end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil(depth / 1000) + 1)
return 0
"""


class RateLimit:
    """`per_s` requests per second and key, and `burst` at once after a pause. Thread-safe; connects at first use."""

    def __init__(self, settings: Settings) -> None:
        self._step_us = 1_000_000 / settings.api.rate_per_s
        self._depth_us = self._step_us * settings.api.rate_burst
        self._redis: Redis = Redis.from_url(
            settings.queue.url.get_secret_value(),
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(SCRIPT)
        self._breaker = Breaker(REST_S)

    def take(self, key_id: str) -> float:
        """Counts one request of the key. Returns 0 when it may be served, else the seconds to wait."""
        if not self._breaker.may_try():
            return 0
        try:
            wait_us = self._script([f"enrich.rate.{key_id}"], [self._step_us, self._depth_us])
        except (RedisError, OSError) as error:
            if self._breaker.failed():
                log.warning("rate_limit_off", error=type(error).__name__)
            return 0
        self._breaker.worked()
        return float(wait_us) / 1_000_000

    def close(self) -> None:
        """Gives the connections back."""
        self._redis.close()
