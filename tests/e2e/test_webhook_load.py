"""Short version of `make bench-webhooks`: healthy endpoints receive everything despite dead ones and a kill -9."""

from __future__ import annotations

import pytest

from core.settings import Settings
from tests.bench.webhooks import measure


@pytest.mark.slow
def test_healthy_endpoints_receive_everything_despite_a_kill(settings: Settings) -> None:
    figures = measure(settings, deliveries=4000, count=20, dead=4)
    assert figures["lost"] == 0
    assert figures["still_waiting"] >= 4 * 200, "deliveries to the dead endpoints stay pending"
    assert figures["repeated_after_kill"] < 200, "only deliveries that were in flight"
