"""Rate limit per API key: a token bucket in Redis, shared by all processes.

Each bucket is one number, the time at which it is full again (the "generic cell rate algorithm"), updated by one script
in one round trip. The package `limits` was rejected: it has no token bucket, needs a second request for `Retry-After`,
and its Redis extra excludes redis-py 8.

The limit fails open: if Redis does not respond within 0.1 s, requests are not limited, and Redis is not queried again
for some seconds.
"""

from __future__ import annotations

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.circuit_breaker import CircuitBreaker
from core.settings import Settings
from core.telemetry.logs import get_logger

log = get_logger(__name__)

TIMEOUT_S = 0.1
COOLDOWN_S = 5.0

# Returns the time to wait, 0 if the request is allowed. Times are microseconds of Redis's clock, because the clocks of
# the processes may differ.
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
    """Limits each key to `rate_per_s` requests per second, in bursts of up to `rate_burst`.

    Thread-safe; connects on first use.
    """

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
        self._breaker = CircuitBreaker(COOLDOWN_S)

    def take(self, key_id: str) -> float:
        """Counts one request of the key. Returns 0 if it is allowed, else the seconds to wait."""
        if not self._breaker.allows_call():
            return 0
        try:
            wait_us = self._script([f"enrich.rate.{key_id}"], [self._step_us, self._depth_us])
        except (RedisError, OSError) as error:
            if self._breaker.record_failure():
                log.warning("rate_limit_off", error=type(error).__name__)
            return 0
        self._breaker.record_success()
        return float(wait_us) / 1_000_000

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()
