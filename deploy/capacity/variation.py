"""Variation of the manifests' values: the parameters that can vary, and their combinations."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

from core.states import Lane
from deploy.capacity.hpa import Policy, Rules
from deploy.capacity.scaled_object import ScaledObject


class VariationError(ValueError):
    """A malformed `--compare` option. The message explains its format."""


def _hpa(scaled_object: ScaledObject, **changes: float | Rules) -> ScaledObject:
    return dataclasses.replace(scaled_object, hpa=dataclasses.replace(scaled_object.hpa, **changes))  # type: ignore[arg-type]


def _window(scaled_object: ScaledObject, seconds: float) -> ScaledObject:
    return _hpa(scaled_object, down=dataclasses.replace(scaled_object.hpa.down, stabilization_s=int(seconds)))


def _percent(rules: Rules, percent: float) -> Rules:
    """Returns the rules with this value in every percentage policy."""
    policies = tuple(Policy(True, int(percent), each.period_s) if each.is_percent else each for each in rules.policies)
    return dataclasses.replace(rules, policies=policies)


def _least(scaled_object: ScaledObject, pods: float) -> ScaledObject:
    return dataclasses.replace(_hpa(scaled_object, min_replicas=max(1, int(pods))), min_replicas=int(pods))


KNOBS: dict[str, Callable[[ScaledObject, float], ScaledObject]] = {
    "target": lambda each, value: _hpa(each, target=value),
    "polling": lambda each, value: dataclasses.replace(each, polling_s=int(value)),
    "cooldown": lambda each, value: dataclasses.replace(each, cooldown_s=int(value)),
    "activation": lambda each, value: dataclasses.replace(each, activation_target=value),
    "min": _least,
    "max": lambda each, value: _hpa(each, max_replicas=int(value)),
    "window": _window,
    "up-percent": lambda each, value: _hpa(each, up=_percent(each.hpa.up, value)),
    "down-percent": lambda each, value: _hpa(each, down=_percent(each.hpa.down, value)),
}
"""`window` is the stabilization window for scaling down; the percentages are those of the policies."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """One parameter to vary, for one lane or both."""

    text: str
    knob: str
    lanes: frozenset[Lane]
    choices: tuple[float, ...]


def parse(text: str) -> list[Axis]:
    """Parses `target=100,330` or `bulk.cooldown=60,300`, or several at once: `target=100,330,cooldown=60`."""
    axes: list[tuple[str, list[str]]] = []
    for part in text.split(","):
        name, sign, value = part.partition("=")
        if sign:
            axes.append((name.strip(), [value]))
        elif axes:
            axes[-1][1].append(part)
        else:
            raise VariationError(f"--compare {text}: write NAME=VALUE,VALUE… with NAME one of {', '.join(KNOBS)}")
    return [_axis(name, choices) for name, choices in axes]


def _axis(name: str, choices: Sequence[str]) -> Axis:
    lane, dot, knob = name.rpartition(".")
    if knob not in KNOBS or (dot and lane not in {each.value for each in Lane}):
        lanes = " or ".join(each.value for each in Lane)
        raise VariationError(
            f"--compare {name}=…: NAME is one of {', '.join(KNOBS)}, or {lanes}, a dot, and one of them"
        )
    try:
        numbers = tuple(float(each) for each in choices)
    except ValueError as error:
        raise VariationError(f"--compare {name}={','.join(choices)}: the values are numbers") from error
    return Axis(name, knob, frozenset({Lane(lane)} if dot else Lane), numbers)


def combinations(
    scaled_objects: Sequence[ScaledObject], axes: Sequence[Axis]
) -> Iterator[tuple[tuple[float, ...], list[ScaledObject]]]:
    """Yields every combination of the axes' values, with the changed ScaledObjects."""
    for choice in itertools.product(*(axis.choices for axis in axes)):
        changed = list(scaled_objects)
        for axis, value in zip(axes, choice, strict=True):
            changed = [KNOBS[axis.knob](each, value) if each.lane in axis.lanes else each for each in changed]
        yield choice, changed


def with_values(scaled_object: ScaledObject) -> str:
    """Returns the parameters of a ScaledObject that can be varied, in one line."""
    hpa = scaled_object.hpa
    return (
        f"target {hpa.target:g}, activation above {scaled_object.activation_target:g}, "
        f"polled every {scaled_object.polling_s} s, cooldown {scaled_object.cooldown_s} s, "
        f"{scaled_object.min_replicas} to {hpa.max_replicas} pods, "
        f"up by {_said(hpa.up)}, down by {_said(hpa.down)}, looking back {hpa.down.stabilization_s} s"
    )


def _said(rules: Rules) -> str:
    policies = [f"{each.value}{' %' if each.is_percent else ' pods'}/{each.period_s} s" for each in rules.policies]
    return f" {rules.select.value.lower()} ".join(policies)
