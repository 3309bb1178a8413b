"""Reads the fields of KEDA ScaledObjects that determine the number of pods.

Unsupported fields, such as other triggers than the service's Redis keys or an idle replica count, raise an error, so
that results never come from a manifest that was only partly understood.
"""

from __future__ import annotations

import dataclasses
import enum
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from core.jobs.queue import queue_name, unacked_key
from core.states import Lane
from deploy.capacity import formula
from deploy.capacity.hpa import (
    DOWN_BY_DEFAULT,
    UP_BY_DEFAULT,
    Policy,
    Rules,
    Select,
    Spec,
)


class ManifestError(ValueError):
    """A manifest is malformed or not supported. The message names the remedy."""


class Counts(enum.Enum):
    """The messages that a trigger counts: queued ones, or those that workers hold."""

    QUEUED = "queued"
    UNACKED = "unacked"


@dataclasses.dataclass(frozen=True)
class Fallback:
    """The number of replicas after more than `failure_threshold` consecutive failures of a trigger."""

    failure_threshold: int
    replicas: int
    behavior: str = "static"


@dataclasses.dataclass(frozen=True)
class ScaledObject:
    """The scaling of one lane: KEDA's part, and the HPA that KEDA creates."""

    name: str
    lane: Lane
    triggers: Mapping[str, Counts]
    formula: formula.Formula
    hpa: Spec
    activation_target: float = 0.0
    polling_s: int = 30
    cooldown_s: int = 300
    min_replicas: int = 0
    fallback: Fallback | None = None
    uses_cached_metrics: bool = False


def find(paths: Iterable[Path]) -> list[ScaledObject]:
    """Returns the ScaledObjects in files, in folders of files, and in rendered kustomizations.

    There is one per lane, interactive first. Raises ManifestError.
    """
    found: dict[Lane, ScaledObject] = {}
    for path in paths:
        for source, text in _texts(path):
            for document in _documents(text, source):
                each = read(document, source)
                if each.lane in found:
                    raise ManifestError(
                        f"{source}: a second ScaledObject for the lane {each.lane}; name one file of them"
                    )
                found[each.lane] = each
    if not found:
        raise ManifestError("no ScaledObject with triggers was found; name a file or a folder: --scaled-object")
    return [found[lane] for lane in Lane if lane in found]


def _texts(path: Path) -> Iterator[tuple[Path, str]]:
    if (path / "kustomization.yaml").is_file():
        yield path, _kustomize(path)
        return
    # Overlays contain only patches.
    files = [each for each in sorted(path.rglob("*.yaml")) if "overlays" not in each.relative_to(path).parts]
    for file in files if path.is_dir() else [path]:
        try:
            yield file, file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{file} cannot be read: {error}") from error


def _kustomize(folder: Path) -> str:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ManifestError(f"{folder} is a kustomization, and there is no kubectl to render it; name a rendered file")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ManifestError(f"kubectl kustomize {folder} failed: {done.stderr.strip()}")
    return done.stdout


def _documents(text: str, source: Path) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ManifestError(f"{source} cannot be read as YAML: {error}") from error
    return [
        each
        for each in documents
        if isinstance(each, dict) and each.get("kind") == "ScaledObject" and _under(each, "spec").get("triggers")
    ]


def _under(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Returns the mapping at the path, or an empty one."""
    at: Any = document
    for key in keys:
        at = at.get(key) if isinstance(at, Mapping) else None
    return dict(at) if isinstance(at, Mapping) else {}


def read(document: Mapping[str, Any], path: Path) -> ScaledObject:
    """Parses one ScaledObject. Raises ManifestError."""
    name = str(_under(document, "metadata").get("name", path.name))
    try:
        return _read(document, name)
    except (ManifestError, formula.FormulaError) as error:
        raise ManifestError(f"{path}: ScaledObject {name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{path}: ScaledObject {name}: a field is missing or malformed: {error}") from error


def _read(document: Mapping[str, Any], name: str) -> ScaledObject:
    spec = _under(document, "spec")
    modifiers = _under(spec, "advanced", "scalingModifiers")
    if spec.get("idleReplicaCount") is not None:
        raise ManifestError("idleReplicaCount is not simulated; leave it out, or set it to none for the simulation")
    if not modifiers.get("formula"):
        raise ManifestError(
            "advanced.scalingModifiers.formula is missing: two triggers alone take the larger, not the sum"
        )
    lane, triggers = _read_triggers(spec["triggers"])
    if spec.get("fallback") and not str(modifiers["target"]).isdigit():
        raise ManifestError(f"target is {modifiers['target']}: KEDA ignores the fallback unless it is a whole number")
    parsed = formula.parse(str(modifiers["formula"]))
    if unknown := parsed.names - triggers.keys():
        raise ManifestError(f"the formula names {sorted(unknown)}, but the triggers are {sorted(triggers)}")
    least = int(spec.get("minReplicaCount") or 0)
    return ScaledObject(
        name=name,
        lane=lane,
        triggers=triggers,
        formula=parsed,
        hpa=_read_hpa(spec, modifiers, least),
        activation_target=float(modifiers.get("activationTarget") or 0),
        polling_s=int(spec.get("pollingInterval") or 30),
        cooldown_s=int(spec["cooldownPeriod"]) if spec.get("cooldownPeriod") is not None else 300,
        min_replicas=least,
        fallback=_read_fallback(_under(spec, "fallback")),
        uses_cached_metrics=all(bool(each.get("useCachedMetrics")) for each in spec["triggers"]),
    )


def _read_triggers(triggers: Sequence[Mapping[str, Any]]) -> tuple[Lane, dict[str, Counts]]:
    known = {queue_name(lane): (lane, Counts.QUEUED) for lane in Lane}
    known |= {unacked_key(lane): (lane, Counts.UNACKED) for lane in Lane}
    names, lanes = {}, set()
    for trigger in triggers:
        key = str(_under(trigger, "metadata").get("listName"))
        if trigger.get("type") != "redis" or key not in known:
            raise ManifestError(
                f"a trigger of type {trigger.get('type')} on {key} is not simulated; "
                f"only redis triggers on {', '.join(sorted(known))} are"
            )
        lane, counts = known[key]
        names[str(trigger["name"])] = counts
        lanes.add(lane)
    if len(lanes) != 1:
        raise ManifestError("its triggers are of more than one lane; each lane is scaled by itself")
    return lanes.pop(), names


def _read_hpa(spec: Mapping[str, Any], modifiers: Mapping[str, Any], least: int) -> Spec:
    behavior = _under(spec, "advanced", "horizontalPodAutoscalerConfig", "behavior")
    kind = modifiers.get("metricType") or "AverageValue"
    if kind not in ("AverageValue", "Value"):
        raise ManifestError(f"metricType is {kind}; KEDA takes AverageValue or Value here")
    target = float(modifiers["target"])
    if target <= 0:
        raise ManifestError("scalingModifiers.target must be above 0")
    return Spec(
        min_replicas=max(1, least),  # KEDA itself scales to zero, its HPA never does
        max_replicas=int(spec.get("maxReplicaCount") or 100),
        target=target,
        is_average=kind == "AverageValue",
        up=_read_rules(_under(behavior, "scaleUp"), UP_BY_DEFAULT),
        down=_read_rules(_under(behavior, "scaleDown"), DOWN_BY_DEFAULT),
    )


def _read_rules(rules: Mapping[str, Any], default: Rules) -> Rules:
    """Parses the rules, with the API server's defaults for missing fields."""
    window, policies = rules.get("stabilizationWindowSeconds"), rules.get("policies")
    tolerance = rules.get("tolerance")
    return Rules(
        policies=default.policies if policies is None else tuple(_read_policy(each) for each in policies),
        stabilization_s=default.stabilization_s if window is None else int(window),
        select=Select(rules.get("selectPolicy") or default.select.value),
        tolerance=default.tolerance if tolerance is None else _quantity(str(tolerance)),
    )


def _read_policy(policy: Mapping[str, Any]) -> Policy:
    if policy["type"] not in ("Pods", "Percent"):
        raise ManifestError(f"a policy's type is {policy['type']}; it must be Pods or Percent")
    return Policy(policy["type"] == "Percent", int(policy["value"]), int(policy["periodSeconds"]))


def _quantity(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _read_fallback(table: Mapping[str, Any]) -> Fallback | None:
    if not table:
        return None
    behavior = str(table.get("behavior") or "static")
    if behavior not in ("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"):
        raise ManifestError(f"fallback.behavior is {behavior}, which is not supported; use static or currentReplicas…")
    return Fallback(int(table["failureThreshold"]), int(table["replicas"]), behavior)
