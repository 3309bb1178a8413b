"""The OpenAPI document: valid, complete, and true of what the service answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import create_app
from api.middleware.problems import HTTP_PROBLEMS
from api.schemas.error_codes import ERROR_CODES
from api.services import services_of
from core.db.engine import Sessions
from core.errors import EnrichError, JobError, RequestError
from core.jobs.queue import Publisher
from core.settings import Settings
from tests.records import claim_job, finish_job, new_job

# Pages and their files are for people, metrics for Prometheus; they are no part of the API.
NO_API = {
    "/",
    "/webhooks",
    "/docs",
    "/docs/errors",
    "/docs/assets/<name>",
    "/assets/<path:filename>",
    "/openapi.json",
    "/metrics",
}


@pytest.fixture
def offline() -> Iterator[APIFlask]:
    """An application that needs no server, since the document needs none."""
    app = create_app(Settings())
    yield app
    services_of(app).close()


@pytest.fixture
def document(offline: APIFlask) -> dict[str, Any]:
    answer: dict[str, Any] = offline.test_client().get("/openapi.json").get_json()
    return answer


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def validator(document: dict[str, Any], schema: dict[str, Any]) -> OAS31Validator:
    """Checks against a schema that refers to the document's own components."""
    return OAS31Validator(
        {**schema, "components": document["components"]}, format_checker=OAS31Validator.FORMAT_CHECKER
    )


def test_the_document_is_valid_openapi_31(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented(offline: APIFlask, document: dict[str, Any]) -> None:
    for rule in offline.url_map.iter_rules():
        if rule.rule in NO_API:
            continue
        path = rule.rule.replace("<", "{").replace(">", "}")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert method.lower() in document["paths"].get(path, {}), f"{method} {path} is not documented"


def test_every_operation_says_enough(document: dict[str, Any]) -> None:
    names = set()
    for name, operation in operations(document):
        for key in ("summary", "description", "operationId", "tags"):
            assert operation.get(key), f"{name} has no {key}"
        names.add(operation["operationId"])
        for parameter in operation["parameters"]:
            assert parameter["in"] == "path" or parameter.get("description"), f"{name}: {parameter['name']}"
        for status, answer in operation["responses"].items():
            kind = "application/json" if int(status) < 400 else "application/problem+json"
            content = answer["content"][kind]
            assert "example" in content or "examples" in content, f"{name} {status} has no example"
            assert answer["description"]
    assert len(names) == len(list(operations(document)))


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    bodies = [
        content
        for _, operation in operations(document)
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    answers = [
        content
        for _, operation in operations(document)
        for answer in operation["responses"].values()
        for content in answer["content"].values()
    ]
    for content in bodies + answers:
        examples = [each["value"] for each in content.get("examples", {}).values()]
        for example in examples + ([content["example"]] if "example" in content else []):
            validator(document, content["schema"]).validate(example)


def test_what_is_answered_fits_the_document(
    document: dict[str, Any], settings: Settings, sessions: Sessions, publisher: Publisher
) -> None:
    job = new_job(sessions, publisher, external_id="sku-1")
    claim = claim_job(sessions, job.id)
    assert claim
    finish_job(sessions, claim)
    new_job(sessions, publisher)
    app = create_app(settings)
    client: FlaskClient = app.test_client()

    for path, template in {
        "/v1/jobs": "/v1/jobs",
        f"/v1/jobs/{job.id}": "/v1/jobs/{job_id}",
        "/v1/jobs/7": "/v1/jobs/{job_id}",
        "/v1/jobs?limit=0": "/v1/jobs",
        "/v1/model": "/v1/model",
        "/readyz": "/readyz",
        "/healthz": "/healthz",
    }.items():
        response = client.get(path)
        answer = document["paths"][template]["get"]["responses"][str(response.status_code)]
        validator(document, answer["content"][response.mimetype]["schema"]).validate(response.get_json(force=True))
    services_of(app).close()


def all_subclasses(base: type[EnrichError]) -> Iterator[type[EnrichError]]:
    for each in base.__subclasses__():
        # Defined for one test only: not part of the service.
        if each.__module__.partition(".")[0] in ("api", "core"):
            yield each
            yield from all_subclasses(each)


def test_every_code_is_explained_once() -> None:
    explained = {each.code: each for each in ERROR_CODES}
    assert len(explained) == len(ERROR_CODES)
    used = {each.code for base in (JobError, RequestError) for each in all_subclasses(base)}
    used |= {code for code, _ in HTTP_PROBLEMS.values()}
    assert used - {RequestError.code} <= explained.keys()
    for error in all_subclasses(RequestError):
        if issubclass(error, RequestError) and error.code != RequestError.code:
            assert explained[error.code].status == error.status, error


def test_explanations_are_sorted_by_status_as_the_page_shows_them() -> None:
    statuses = [each.status or 999 for each in ERROR_CODES]
    assert statuses == sorted(statuses)


def test_pages_load_nothing_from_elsewhere(offline: APIFlask) -> None:
    client = offline.test_client()
    for path in (
        "/",
        "/docs",
        "/docs/errors",
        "/assets/page.js",
        "/assets/card.js",
        "/assets/api.js",
        "/assets/key.js",
        "/assets/page.css",
    ):
        response = client.get(path)
        assert response.status_code == 200
        text = response.text.replace("http://www.w3.org/2000/svg", "").replace("https://shop.example/", "")
        assert "http://" not in text
        assert "https://" not in text
        response.close()


def test_swagger_ui_comes_from_the_wheel(offline: APIFlask) -> None:
    client = offline.test_client()
    for name in ("swagger-ui.css", "swagger-ui-bundle.js"):
        response = client.get(f"/docs/assets/{name}")
        assert len(response.data) > 100_000
        response.close()
    assert client.get("/docs/assets/LICENSE").status_code == 404
