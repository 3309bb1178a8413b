"""The routes of webhook endpoints and their secrets. What was sent to them: api/routes/deliveries.py."""

from __future__ import annotations

import uuid
from typing import Any

from apiflask import APIBlueprint
from flask import Response, jsonify, url_for

from api.middleware.auth import key_id, needs, owner_id
from api.request_parsing import read_json, webhook_address
from api.schemas import examples
from api.schemas.openapi import problems
from api.schemas.webhooks import (
    DeliveryDocument,
    EndpointChanges,
    EndpointDocument,
    EndpointList,
    EndpointRequest,
    NewEndpointDocument,
    RotateRequest,
    SecretDocument,
)
from api.services import resources
from core.auth.api_keys import Scope
from core.db.webhook_models import WebhookEndpoint
from core.errors import EndpointDisabled, EndpointNotFound
from core.webhooks import deliveries, endpoints, secrets
from core.webhooks.events import test_event
from core.webhooks.serializers import endpoint_document, secret_document

TAG = {"name": "Webhooks", "description": "Being told of what has ended, after https://www.standardwebhooks.com."}

blueprint = APIBlueprint("webhooks", __name__, url_prefix="/v1", tag=TAG)

Document = dict[str, Any]

BODY_CODES = ("malformed_json", "unsupported_content_type", "invalid_request", "invalid_address", "request_too_large")


@blueprint.post("/webhook-endpoints")
@blueprint.doc(
    summary="Make an endpoint",
    description="From now on it is told of every event that it wants. The answer holds the secret to verify with.",
    operation_id="createWebhookEndpoint",
    responses=problems(*BODY_CODES, "too_many_endpoints", "database_unavailable"),
)
@blueprint.output(
    NewEndpointDocument, status_code=201, description="The endpoint.", example=examples.ENDPOINT | examples.SECRET
)
def create_endpoint() -> Response:
    asked = read_json(EndpointRequest)
    url = webhook_address(asked.url) or ""
    with resources().sessions.begin() as session:
        endpoint = endpoints.create(
            session,
            owner_id(),
            url=url,
            event_types=asked.event_types,
            description=asked.description,
            max_rate_per_s=asked.max_rate_per_s,
            is_enabled=asked.enabled,
            limit=resources().settings.webhooks.max_endpoints,
        )
        session.refresh(endpoint)
        secret = secret_document(secrets.read(session, endpoint.secret_id))
    response = jsonify(_documents([endpoint])[0] | secret)
    response.status_code = 201
    response.headers["Location"] = url_for("webhooks.get_endpoint", endpoint_id=endpoint.id)
    return response


@blueprint.get("/webhook-endpoints")
@blueprint.doc(
    summary="List endpoints",
    description="All of them, oldest first, each with how it fares.",
    operation_id="listWebhookEndpoints",
    responses=problems("database_unavailable"),
)
@blueprint.output(EndpointList, description="All endpoints.", example={"endpoints": [examples.ENDPOINT]})
def list_endpoints() -> Response:
    with resources().sessions() as session:
        found = endpoints.list_all(session, owner_id())
    return jsonify({"endpoints": _documents(found)})


@blueprint.get("/webhook-endpoints/<endpoint_id>")
@blueprint.doc(
    summary="Read an endpoint",
    description="Whether it is well, since when it fails, and how much waits for it.",
    operation_id="getWebhookEndpoint",
    responses=problems("endpoint_not_found", "database_unavailable"),
)
@blueprint.output(EndpointDocument, description="The endpoint.", example=examples.ENDPOINT)
def get_endpoint(endpoint_id: str) -> Response:
    return jsonify(_documents([read_endpoint(endpoint_id)])[0])


@blueprint.patch("/webhook-endpoints/<endpoint_id>")
@blueprint.doc(
    summary="Change an endpoint",
    description="What is left out stays. `enabled: true` on a disabled one forgets its failures and sends what waits.",
    operation_id="changeWebhookEndpoint",
    responses=problems(*BODY_CODES, "endpoint_not_found", "database_unavailable"),
)
@blueprint.output(EndpointDocument, description="The endpoint, changed.", example=examples.ENDPOINT)
def change_endpoint(endpoint_id: str) -> Response:
    asked = read_json(EndpointChanges)
    changes = asked.model_dump(include=asked.model_fields_set)
    if "url" in changes:
        changes["url"] = webhook_address(asked.url)
    if "enabled" in changes:
        changes["is_enabled"] = changes.pop("enabled")
    with resources().sessions.begin() as session:
        endpoint = endpoints.change(session, owner_id(), parse_endpoint_id(endpoint_id), changes)
    return jsonify(_documents([endpoint])[0])


@blueprint.delete("/webhook-endpoints/<endpoint_id>")
@blueprint.doc(
    summary="Delete an endpoint",
    description="With all that waits for it, its log and its secret. The answer is the endpoint as it was.",
    operation_id="deleteWebhookEndpoint",
    responses=problems("endpoint_not_found", "database_unavailable"),
)
@blueprint.output(EndpointDocument, description="The endpoint that is no more.", example=examples.ENDPOINT)
def delete_endpoint(endpoint_id: str) -> Response:
    document = _documents([read_endpoint(endpoint_id)])[0]
    endpoints.delete(resources().sessions, owner_id(), parse_endpoint_id(endpoint_id))
    return jsonify(document)


@blueprint.post("/webhook-endpoints/<endpoint_id>/test")
@blueprint.doc(
    summary="Send a test event",
    description="An `endpoint.test`, whatever events it wants. Read the delivery to see what came of it.",
    operation_id="testWebhookEndpoint",
    responses=problems("endpoint_not_found", "endpoint_disabled", "database_unavailable"),
)
@blueprint.output(
    DeliveryDocument,
    status_code=202,
    description="The delivery of the test.",
    example=examples.DELIVERY | {"event_type": "endpoint.test", "job_id": None},
)
def test_endpoint(endpoint_id: str) -> Response:
    with resources().sessions.begin() as session:
        endpoint = endpoints.get(session, owner_id(), parse_endpoint_id(endpoint_id))
        if not endpoint.is_enabled:
            raise EndpointDisabled("the endpoint is disabled; enable it first")
        delivery_id = test_event(session, endpoint)
        document = deliveries.read_delivery(session, owner_id(), delivery_id)
    response = jsonify({name: document[name] for name in DeliveryDocument.model_fields})
    response.status_code = 202
    return response


@blueprint.get("/webhook-endpoints/<endpoint_id>/secret")
@blueprint.doc(
    summary="Read an endpoint's secret",
    description="Wants the scope `write`, because with it anybody could speak in our name.",
    operation_id="getWebhookSecret",
    responses=problems("endpoint_not_found", "database_unavailable"),
)
@blueprint.output(SecretDocument, description="The secrets that are valid now.", example=examples.SECRET)
@needs(Scope.WRITE)
def get_secret(endpoint_id: str) -> Response:
    endpoint = read_endpoint(endpoint_id)
    with resources().sessions() as session:
        return jsonify(secret_document(secrets.read(session, endpoint.secret_id)))


@blueprint.post("/webhook-endpoints/<endpoint_id>/rotate")
@blueprint.doc(
    summary="Replace an endpoint's secret",
    description="For a while everything is signed with both, so that the receiver can change over without a gap.",
    operation_id="rotateWebhookSecret",
    responses=problems(*BODY_CODES, "endpoint_not_found", "database_unavailable"),
)
@blueprint.output(SecretDocument, description="The new secret, and the old one.", example=examples.SECRET)
def rotate_secret(endpoint_id: str) -> Response:
    return _rotate(read_endpoint(endpoint_id).secret_id)


@blueprint.get("/webhook-secret")
@blueprint.doc(
    summary="Read your key's secret",
    description="What a job's own `webhook_url` is signed with: each API key has one. Wants the scope `write`.",
    operation_id="getDefaultWebhookSecret",
    responses=problems("database_unavailable"),
)
@blueprint.output(SecretDocument, description="The secrets that are valid now.", example=examples.SECRET)
@needs(Scope.WRITE)
def get_default_secret() -> Response:
    with resources().sessions.begin() as session:
        return jsonify(secret_document(secrets.read(session, secrets.default_id(session, owner_id(), key_id()))))


@blueprint.post("/webhook-secret/rotate")
@blueprint.doc(
    summary="Replace your key's secret",
    description="For a while everything is signed with both.",
    operation_id="rotateDefaultWebhookSecret",
    responses=problems(*BODY_CODES, "database_unavailable"),
)
@blueprint.output(SecretDocument, description="The new secret, and the old one.", example=examples.SECRET)
def rotate_default_secret() -> Response:
    with resources().sessions.begin() as session:
        secret_id = secrets.default_id(session, owner_id(), key_id())
    return _rotate(secret_id)


def _rotate(secret_id: uuid.UUID) -> Response:
    asked = read_json(RotateRequest, is_optional=True)
    usual = resources().settings.webhooks.rotation_overlap_s
    with resources().sessions.begin() as session:
        overlap_s = usual if asked.overlap_s is None else asked.overlap_s
        return jsonify(secret_document(secrets.rotate(session, secret_id, overlap_s)))


def read_endpoint(endpoint_id: str) -> WebhookEndpoint:
    """Raises EndpointNotFound."""
    with resources().sessions() as session:
        return endpoints.get(session, owner_id(), parse_endpoint_id(endpoint_id))


def parse_endpoint_id(text: str) -> uuid.UUID:
    """Raises EndpointNotFound: what is no id names no endpoint."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise EndpointNotFound("there is no such endpoint under your key; check the id") from None


def _documents(found: Any) -> list[Document]:
    with resources().sessions() as session:
        backlogs = endpoints.backlogs(session, [each.id for each in found])
    return [endpoint_document(each, backlogs[each.id]) for each in found]
