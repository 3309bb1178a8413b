"""Calling again while Postgres is away."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from worker.process.db_retry import retry_while_unavailable


def gone() -> OperationalError:
    return OperationalError("SELECT 1", None, Exception("the connection is closed"))


def test_an_absence_is_outlasted() -> None:
    failures = [gone(), gone()]

    def answer() -> int:
        if failures:
            raise failures.pop()
        return 7

    assert retry_while_unavailable(answer, lambda: False) == 7


def test_when_it_is_over_the_error_comes_out() -> None:
    calls = []

    def never() -> None:
        calls.append(1)
        raise gone()

    with pytest.raises(OperationalError):
        retry_while_unavailable(never, lambda: len(calls) == 2)


def test_other_errors_come_out_at_once() -> None:
    calls = []

    def wrong() -> None:
        calls.append(1)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        retry_while_unavailable(wrong, lambda: False)
    assert calls == [1]
