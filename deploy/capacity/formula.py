"""An evaluator for the subset of expr-lang that `scalingModifiers.formula` uses: numbers, trigger names, arithmetic.

KEDA evaluates formulas with github.com/expr-lang/expr on floats. Unsupported syntax raises an error that names it,
because a formula that is evaluated differently from KEDA would make all results wrong.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Values = Mapping[str, float]
Node = Callable[[Values], float]

FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    # name: (function, minimum number of arguments, maximum number of arguments)
    "max": (max, 1, 16),
    "min": (min, 1, 16),
    "abs": (abs, 1, 1),
    "ceil": (lambda value: float(math.ceil(value)), 1, 1),
    "floor": (lambda value: float(math.floor(value)), 1, 1),
    # expr rounds half away from zero, Python half to even.
    "round": (lambda value: math.copysign(math.floor(abs(value) + 0.5), value), 1, 1),
    "float": (float, 1, 1),
    "int": (lambda value: float(math.trunc(value)), 1, 1),
}

_TOKENS = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z_]\w*)|(\*\*|[<>=!]=|&&|\|\||[-+*/^()<>?:,!])|(\S))")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class FormulaError(ValueError):
    """The formula is malformed or uses unsupported syntax."""


class Formula(NamedTuple):
    """A parsed formula, with the names of the triggers that it uses."""

    text: str
    names: frozenset[str]
    node: Node

    def evaluate(self, values: Values) -> float:
        """Returns the value of the formula for these trigger values."""
        try:
            return float(self.node(values))
        except ZeroDivisionError as error:
            raise FormulaError(f"the formula {self.text!r} divides by zero") from error


def parse(text: str) -> Formula:
    """Parses a formula. Raises FormulaError."""
    reader = _Reader(text)
    node = reader.ternary()
    if reader.next is not None:
        raise FormulaError(f"in the formula {text!r}, {reader.next!r} stands where an operator or the end should be")
    return Formula(text, frozenset(reader.names), node)


class _Reader:
    """A recursive-descent parser with one method per level of precedence, lowest first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split(text))
        self._at = 0
        self.names: set[str] = set()

    def _split(self, text: str) -> Sequence[str]:
        tokens = []
        for number, name, symbol, other in _TOKENS.findall(text):
            if other:
                raise FormulaError(f"in the formula {text!r}, {other!r} is not supported by this simulation")
            tokens.append(number or name or symbol)
        return [{"and": "&&", "or": "||", "not": "!"}.get(each, each) for each in tokens]

    @property
    def next(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, *wanted: str) -> str | None:
        if self.next is not None and self.next in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def _expect(self, wanted: str) -> None:
        if not self._take(wanted):
            raise FormulaError(
                f"in the formula {self._text!r}, {wanted!r} is missing before {self.next or 'the end'!r}"
            )

    def ternary(self) -> Node:
        condition = self._either()
        if not self._take("?"):
            return condition
        then = self.ternary()
        self._expect(":")
        otherwise = self.ternary()
        return lambda values: then(values) if condition(values) else otherwise(values)

    def _either(self) -> Node:
        left = self._both()
        while self._take("||"):
            left = _combine(left, self._both(), lambda a, b: float(bool(a) or bool(b)))
        return left

    def _both(self) -> Node:
        left = self._comparison()
        while self._take("&&"):
            left = _combine(left, self._comparison(), lambda a, b: float(bool(a) and bool(b)))
        return left

    def _comparison(self) -> Node:
        left = self._sum()
        if sign := self._take(*_COMPARISONS):
            left = _combine(left, self._sum(), _COMPARISONS[sign])
        return left

    def _sum(self) -> Node:
        left = self._product()
        while sign := self._take("+", "-"):
            left = _combine(left, self._product(), operator.add if sign == "+" else operator.sub)
        return left

    def _product(self) -> Node:
        left = self._sign()
        while sign := self._take("*", "/"):
            left = _combine(left, self._sign(), operator.mul if sign == "*" else operator.truediv)
        return left

    def _sign(self) -> Node:
        if sign := self._take("-", "+", "!"):
            inner = self._sign()
            actions: dict[str, Node] = {
                "-": lambda values: -inner(values),
                "+": inner,
                "!": lambda values: float(not inner(values)),
            }
            return actions[sign]
        return self._power()

    def _power(self) -> Node:
        base = self._atom()
        return _combine(base, self._sign(), math.pow) if self._take("**", "^") else base

    def _atom(self) -> Node:
        token = self.next
        if token is None:
            raise FormulaError(f"the formula {self._text!r} breaks off")
        self._at += 1
        if token == "(":  # noqa: S105
            inner = self.ternary()
            self._expect(")")
            return inner
        if token[0].isdigit():
            number = float(token)
            return lambda _: number
        if token[0].isalpha() or token[0] == "_":
            return self._call(token) if self._take("(") else self._name(token)
        raise FormulaError(f"in the formula {self._text!r}, {token!r} stands where a value should be")

    def _name(self, name: str) -> Node:
        if name in ("true", "false"):
            return lambda _: float(name == "true")
        self.names.add(name)
        return lambda values: values[name]

    def _call(self, name: str) -> Node:
        if name not in FUNCTIONS:
            raise FormulaError(
                f"the formula {self._text!r} calls {name}(), which this simulation does not know; "
                f"it knows {', '.join(sorted(FUNCTIONS))}"
            )
        function, fewest, most = FUNCTIONS[name]
        arguments = [self.ternary()]
        while self._take(","):
            arguments.append(self.ternary())
        self._expect(")")
        if not fewest <= len(arguments) <= most:
            raise FormulaError(f"in the formula {self._text!r}, {name}() takes {fewest} to {most} arguments")
        # With one argument, max and min return it; Python's functions would expect a sequence.
        if len(arguments) == 1 and most > 1:
            return arguments[0]
        return lambda values: function(*(each(values) for each in arguments))


def _combine(left: Node, right: Node, action: Callable[[float, float], float]) -> Node:
    return lambda values: float(action(left(values), right(values)))
