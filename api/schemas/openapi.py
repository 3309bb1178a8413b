"""The OpenAPI 3.1 document: made by APIFlask from the routes, finished here where it falls short."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

from apiflask import APIFlask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.middleware.problems import MEDIA_TYPE
from api.schemas import examples
from api.schemas.error_codes import CODES, Code
from api.schemas.jobs import JobRequest, Problem, UploadRequest
from api.schemas.webhooks import (
    EndpointChanges,
    EndpointRequest,
    ReplayRequest,
    RotateRequest,
)

TITLE = "Asset Enrichment"
DESCRIPTION = """Give it a product photo's address, get the catalogue entry back: attributes and a display name.

Make a job, then read it until its `status` is `succeeded`, `failed` or `canceled`. Every error is a problem document
(RFC 9457) with a stable `code`; [all codes](/docs/errors). Every answer has an `X-Request-Id`.
"""
ACCESS_CODES = ("key_required", "key_invalid", "scope_missing", "not_local", "rate_limited", "database_unavailable")
SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, `enrich_…`. A service that was started with `enrich up` asks for none.",
}
REFERENCE = "#/components/schemas/{model}"

Document = dict[str, Any]

PATH_EXAMPLES = {
    "job_id": examples.JOB_ID,
    "endpoint_id": examples.ENDPOINT_ID,
    "delivery_id": examples.DELIVERY_ID,
}

BODIES: dict[str, tuple[type[BaseModel], Document]] = {
    "createWebhookEndpoint": (EndpointRequest, examples.ENDPOINT_REQUEST),
    "changeWebhookEndpoint": (EndpointChanges, {"enabled": True}),
    "rotateWebhookSecret": (RotateRequest, {}),
    "rotateDefaultWebhookSecret": (RotateRequest, {}),
    "replayWebhookFailures": (ReplayRequest, examples.REPLAY_REQUEST),
}
"""Request bodies by operation id. api/request_parsing.py reads them, because APIFlask's errors say less.

An empty example marks an optional body."""


def install(app: APIFlask) -> None:
    """Sets the document's frame; the document itself is made when it is first asked for."""
    app.config.update(
        OPENAPI_VERSION="3.1.0",
        DESCRIPTION=DESCRIPTION,
        # The page is served from where the document is: no address needs to be guessed.
        SERVERS=[{"url": "/"}],
        LICENSE={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
    )
    app.spec_callback = finish


def problems(*codes: str, is_public: bool = False) -> dict[int | str, Document]:
    """The error answers of a route, for `blueprint.doc(responses=…)`. Every route may also fail unexpectedly.

    Args:
        is_public: no key is asked for (see api/middleware/auth.py).
    """
    usual = {"internal_error"} if is_public else {"internal_error", *ACCESS_CODES}
    told = [each for each in CODES if each.code in usual | set(codes) and each.status is not None]
    return {status: _problem_answer(group) for status, group in groupby(told, key=attrgetter("status"))}


def ended_answer(example: Document) -> Document:
    """The answer of a POST that waited for the end of its job."""
    schema = {"$ref": REFERENCE.format(model="JobDocument")}
    return {
        "description": "The job has ended while you waited.",
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _problem_answer(group: Iterable[Code]) -> Document:
    codes = list(group)
    return {
        "description": " · ".join(f"`{each.code}`: {each.meaning}" for each in codes),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": REFERENCE.format(model="Problem")},
                "examples": {
                    each.code: {
                        "value": examples.problem(each.code, each.status or 500, f"{each.meaning} {each.advice}")
                    }
                    for each in codes
                },
            }
        },
    }


def finish(document: Document | str) -> Document:
    """Adds what the decorators cannot say: two kinds of body, headers of answers, formats of path parameters."""
    document = _with_plain_names(document)
    document["components"]["schemas"] |= _schemas(
        JobRequest, UploadRequest, Problem, *(body[0] for body in BODIES.values())
    )
    for item in document["paths"].values():
        for operation in item.values():
            operation["parameters"] = [_parameter(each) for each in operation["parameters"]]
            for status, answer in operation["responses"].items():
                answer.setdefault("headers", {}).update(_headers_of(status))
            if "401" in operation["responses"]:
                operation["security"] = [{"apiKey": []}]
    document["components"]["securitySchemes"] = {"apiKey": SECURITY_SCHEME}
    _finish_create(document["paths"]["/v1/jobs"]["post"])
    for operation in (operation for item in document["paths"].values() for operation in item.values()):
        if body := BODIES.get(operation["operationId"]):
            operation["requestBody"] = _json_body(*body)
    return document


def _json_body(model: type[BaseModel], example: Document) -> Document:
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"required": bool(example), "content": {"application/json": {"schema": schema, "example": example}}}


def _with_plain_names(document: Document | str) -> Document:
    # APIFlask names nested models `Outer.Inner`, once for each outer one; ours are called the same everywhere.
    text = re.sub(r"#/components/schemas/\w+\.(\w+)", r"#/components/schemas/\1", json.dumps(document))
    plain: Document = json.loads(text)
    schemas = plain["components"]["schemas"]
    plain["components"]["schemas"] = {name.rpartition(".")[2]: schema for name, schema in sorted(schemas.items())}
    return plain


def _schemas(*models: type[BaseModel]) -> Document:
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    definitions: Document = schema["$defs"]
    return definitions


def _parameter(parameter: Document) -> Document:
    schema = _without_null(parameter["schema"])
    if parameter["in"] == "path" and (example := PATH_EXAMPLES.get(parameter["name"])):
        return parameter | {"schema": {"type": "string", "format": "uuid"}, "example": example}
    if parameter["in"] == "header":
        parameter = {**parameter, "name": parameter["name"].title()}
    described = {"description": schema.pop("description")} if "description" in schema else {}
    return {**parameter, **described, "schema": schema}


def _without_null(schema: Document) -> Document:
    # A parameter is left out, never null: what Pydantic says of optional fields is true of JSON only.
    schema = {key: value for key, value in schema.items() if (key, value) != ("default", None)}
    kinds = [each for each in schema.pop("anyOf", []) if each != {"type": "null"}]
    return {**kinds[0], **schema} if kinds else schema


def _finish_create(operation: Document) -> None:
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REFERENCE.format(model="JobRequest")},
                "example": examples.JOB_REQUEST,
            },
            "multipart/form-data": {"schema": _upload_schema()},
        },
    }
    replayed = _header("`true` when the Idempotency-Key came before and this is the job of then.")
    for status in ("200", "202"):
        operation["responses"][status]["headers"] |= {
            "Location": _header("Where to read the job."),
            "Idempotency-Replayed": replayed,
            "Preference-Applied": _header("`wait=N` when there was room to wait."),
        }


def _upload_schema() -> Document:
    file = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary", "description": "The picture, exactly one."}},
    }
    return {"allOf": [file, {"$ref": REFERENCE.format(model="UploadRequest")}]}


def _headers_of(status: str) -> Document:
    headers = {"X-Request-Id": _header("Names this request in our logs.")}
    if status == "401":
        headers["WWW-Authenticate"] = _header("How to send a key.")
    if status in ("429", "503"):
        headers["Retry-After"] = _header("Seconds after which to try again.")
    return headers


def _header(description: str) -> Document:
    return {"description": description, "schema": {"type": "string"}}
