"""Requests made from the OpenAPI document, right ones and wrong ones, against the real application and its servers."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import schemathesis
from apiflask import APIFlask
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode

from api.app import create_app
from api.services import services_of
from core.auth import api_keys
from core.auth.api_keys import Scope
from core.db.engine import make_engine, make_sessions
from core.settings import ApiSettings, Settings


@dataclass
class Report:
    """Requests sent, answers with a 5xx that is no documented one, and errors that are no problem document."""

    requests: int = 0
    answers_5xx: list[str] = field(default_factory=list)
    not_problems: list[str] = field(default_factory=list)


def send(settings: Settings, examples: int, seed: int) -> Report:
    """`examples` requests of each kind (by the schema, and against it) for each operation, with a key of all scopes."""
    # Waiting is cut short: a random wait=50 on a job that nobody works on is a minute's pause.
    api = ApiSettings(rate_per_s=1e6, rate_burst=10**6, max_wait_s=0, max_queued_jobs=10**6)
    app = create_app(settings.model_copy(update={"api": api}))
    try:
        return _send(app, _key(settings), examples, seed)
    finally:
        services_of(app).close()


def _send(app: APIFlask, key: str, examples: int, seed: int) -> Report:
    report = Report()
    caller = app.test_client()
    document = caller.get("/openapi.json").get_json()
    known = [
        caller.post(
            "/v1/jobs", json={"url": f"https://shop.example/{n}.jpg"}, headers={"Authorization": f"Bearer {key}"}
        )
        for n in range(3)
    ]
    ids = [answer.get_json()["id"] for answer in known]
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _run(operation, mode, examples, seed, lambda case: _ask(case, key, ids, report))
    return report


def _run(operation: Any, mode: GenerationMode, examples: int, seed: int, ask: Callable[[Any], None]) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def test(case: Any) -> None:
        ask(case)

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # an operation without parameters has no wrong form
        test()


def _ask(case: Any, key: str, ids: list[str], report: Report) -> None:
    report.requests += 1
    for name in case.path_parameters if report.requests % 3 else ():  # invented ids are hardly ever those of a job
        if name.endswith("id"):
            case.path_parameters[name] = ids[report.requests % len(ids)]
    response = case.call(headers={"Authorization": f"Bearer {key}"})
    line = f"{case.method} {case.formatted_path}: {response.status_code}"
    is_documented = str(response.status_code) in case.operation.definition.raw.get("responses", {})
    if response.status_code >= 500 and not (response.status_code == 503 and is_documented):
        report.answers_5xx.append(line)
    if response.status_code >= 400:
        kind = response.headers.get("content-type", [""])[0]
        if not kind.startswith("application/problem+json") or "code" not in response.json():
            report.not_problems.append(f"{line} {kind}")


def _key(settings: Settings) -> str:
    engine = make_engine(settings)
    with make_sessions(engine).begin() as session:
        _, secret = api_keys.create(session, owner_id="fuzz", name="fuzz", scopes=list(Scope))
    engine.dispose()
    return secret
