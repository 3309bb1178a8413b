"""The formula evaluator: what it works out, and what it refuses."""

from __future__ import annotations

import pytest

from deploy.capacity.formula import FormulaError, parse

VALUES = {"queued": 3.0, "in_flight": 2.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("queued + in_flight", 5),
        ("(queued + in_flight) * 64", 320),
        ("queued + in_flight * 64", 131),
        ("queued / in_flight", 1.5),
        ("2 ** 3 ** 2", 512),
        ("-2 ^ 2", -4),
        ("10 - 3 - 2", 5),
        ("max(queued, in_flight, 7)", 7),
        ("min(queued)", 3),
        ("ceil(queued / in_flight) + floor(1.9) + round(2.5) + abs(-1)", 7),
        ("queued > 2 ? queued : 0", 3),
        ("queued > 2 && in_flight == 0 ? 1 : queued != 3 or not (in_flight < 2) ? 10 : 20", 10),
    ],
)
def test_what_formulas_come_to(text: str, value: float) -> None:
    assert parse(text).evaluate(VALUES) == value


def test_the_triggers_that_a_formula_names() -> None:
    assert parse("max(queued, 1) + 64 * in_flight").names == {"queued", "in_flight"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sum(queued, in_flight)", "calls sum(), which this simulation does not know; it knows abs, ceil"),
        ("queued % 2", "'%' is not supported by this simulation"),
        ("queued ?? 0", "stands where a value should be"),
        ("queued +", "breaks off"),
        ("queued in_flight", "'in_flight' stands where an operator or the end should be"),
        ("(queued", "')' is missing before 'the end'"),
        ("abs(queued, 1)", "abs() takes 1 to 1 arguments"),
        ("__import__('os')", "is not supported"),
    ],
)
def test_what_is_not_known_is_refused_by_name(text: str, sentence: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert sentence in str(caught.value)


def test_a_division_by_zero_is_told() -> None:
    with pytest.raises(FormulaError, match="divides by zero"):
        parse("1 / queued").evaluate({"queued": 0})
