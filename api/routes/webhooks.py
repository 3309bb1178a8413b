"""Routes for webhook endpoints and their secrets. For deliveries see api/routes/deliveries.py."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from apiflask import APIBlueprint
from flask import Response, jsonify, url_for

from api.middleware.auth import key_id, owner_id, require_scope
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
from api.services import services
from core.auth.api_keys import Scope
from core.db.webhook_models import WebhookEndpoint
from core.errors import EndpointDisabled, EndpointNotFound
from core.webhooks import deliveries, endpoints, secrets
from core.webhooks.events import create_test_event
from core.webhooks.serializers import serialize_endpoint, serialize_secrets

TAG = {
    "name": "Webhooks",
    "description": "Endpoints that receive events when jobs finish, following https://www.standardwebhooks.com.",
}

blueprint = APIBlueprint("webhooks", __name__, url_prefix="/v1", tag=TAG)

Document = dict[str, Any]

BODY_CODES = ("malformed_json", "unsupported_content_type", "invalid_request", "invalid_address", "request_too_large")


@blueprint.post("/webhook-endpoints")
@blueprint.doc(
    summary="Create an endpoint",
    description="From now on the endpoint receives the events that it subscribes to. The response contains the secret "
    "for verifying signatures.",
    operation_id="createWebhookEndpoint",
    responses=problems(*BODY_CODES, "too_many_endpoints", "database_unavailable"),
)
@blueprint.output(
    NewEndpointDocument, status_code=201, description="The endpoint.", example=examples.ENDPOINT | examples.SECRET
)
def create_endpoint() -> Response:
    body = read_json(EndpointRequest)
    url = webhook_address(body.url) or ""
    with services().sessions.begin() as session:
        endpoint = endpoints.create(
            session,
            owner_id(),
            url=url,
            event_types=body.event_types,
            description=body.description,
            max_rate_per_s=body.max_rate_per_s,
            is_enabled=body.enabled,
            limit=services().settings.webhooks.max_endpoints,
        )
        session.refresh(endpoint)
        secret = serialize_secrets(secrets.read(session, endpoint.secret_id))
    response = jsonify(_documents([endpoint])[0] | secret)
    response.status_code = 201
    response.headers["Location"] = url_for("webhooks.get_endpoint", endpoint_id=endpoint.id)
    return response


@blueprint.get("/webhook-endpoints")
@blueprint.doc(
    summary="List endpoints",
    description="Returns all endpoints with their health, oldest first.",
    operation_id="listWebhookEndpoints",
    responses=problems("database_unavailable"),
)
@blueprint.output(EndpointList, description="All endpoints.", example={"endpoints": [examples.ENDPOINT]})
def list_endpoints() -> Response:
    with services().sessions() as session:
        found = endpoints.list_all(session, owner_id())
    return jsonify({"endpoints": _documents(found)})


@blueprint.get("/webhook-endpoints/<endpoint_id>")
@blueprint.doc(
    summary="Get an endpoint",
    description="Returns the endpoint with its health: failures since the last success, and pending deliveries.",
    operation_id="getWebhookEndpoint",
    responses=problems("endpoint_not_found", "database_unavailable"),
)
@blueprint.output(EndpointDocument, description="The endpoint.", example=examples.ENDPOINT)
def get_endpoint(endpoint_id: str) -> Response:
    return jsonify(_documents([read_endpoint(endpoint_id)])[0])


@blueprint.patch("/webhook-endpoints/<endpoint_id>")
@blueprint.doc(
    summary="Update an endpoint",
    description="Omitted fields keep their values. `enabled: true` on a disabled endpoint resets its failures and "
    "sends pending deliveries.",
    operation_id="changeWebhookEndpoint",
    responses=problems(*BODY_CODES, "endpoint_not_found", "database_unavailable"),
)
@blueprint.output(EndpointDocument, description="The updated endpoint.", example=examples.ENDPOINT)
def change_endpoint(endpoint_id: str) -> Response:
    body = read_json(EndpointChanges)
    changes = body.model_dump(include=body.model_fields_set)
    if "url" in changes:
        changes["url"] = webhook_address(body.url)
    if "enabled" in changes:
        changes["is_enabled"] = changes.pop("enabled")
    with services().sessions.begin() as session:
        endpoint = endpoints.change(session, owner_id(), parse_endpoint_id(endpoint_id), changes)
    return jsonify(_documents([endpoint])[0])


@blueprint.delete("/webhook-endpoints/<endpoint_id>")
@blueprint.doc(
    summary="Delete an endpoint",
    description="Deletes the endpoint with its deliveries and its secret, and returns its last state.",
    operation_id="deleteWebhookEndpoint",
    responses=problems("endpoint_not_found", "database_unavailable"),
)
@blueprint.output(EndpointDocument, description="The deleted endpoint.", example=examples.ENDPOINT)
def delete_endpoint(endpoint_id: str) -> Response:
    document = _documents([read_endpoint(endpoint_id)])[0]
    endpoints.delete(services().sessions, owner_id(), parse_endpoint_id(endpoint_id))
    return jsonify(document)


@blueprint.post("/webhook-endpoints/<endpoint_id>/test")
@blueprint.doc(
    summary="Send a test event",
    description="Sends an `endpoint.test` event, regardless of its subscriptions. Get the delivery for the outcome.",
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
    with services().sessions.begin() as session:
        endpoint = endpoints.get(session, owner_id(), parse_endpoint_id(endpoint_id))
        if not endpoint.is_enabled:
            raise EndpointDisabled("the endpoint is disabled; enable it first")
        delivery_id = create_test_event(session, endpoint)
        document = deliveries.get_delivery(session, owner_id(), delivery_id)
    response = jsonify({name: document[name] for name in DeliveryDocument.model_fields})
    response.status_code = 202
    return response


@blueprint.get("/webhook-endpoints/<endpoint_id>/secret")
@blueprint.doc(
    summary="Get an endpoint's secret",
    description="Requires the scope `write`, because anyone with the secret can forge events.",
    operation_id="getWebhookSecret",
    responses=problems("endpoint_not_found", "database_unavailable"),
)
@blueprint.output(SecretDocument, description="The secrets that are valid now.", example=examples.SECRET)
@require_scope(Scope.WRITE)
def get_secret(endpoint_id: str) -> Response:
    endpoint = read_endpoint(endpoint_id)
    with services().sessions() as session:
        return jsonify(serialize_secrets(secrets.read(session, endpoint.secret_id)))


@blueprint.post("/webhook-endpoints/<endpoint_id>/rotate")
@blueprint.doc(
    summary="Rotate an endpoint's secret",
    description="During the overlap every event is signed with both secrets, so receivers can switch without a gap.",
    operation_id="rotateWebhookSecret",
    responses=problems(*BODY_CODES, "endpoint_not_found", "database_unavailable"),
)
@blueprint.output(SecretDocument, description="The new secret, and the old one.", example=examples.SECRET)
def rotate_secret(endpoint_id: str) -> Response:
    return _rotate(read_endpoint(endpoint_id).secret_id)


@blueprint.get("/webhook-secret")
@blueprint.doc(
    summary="Get your key's secret",
    description="Returns the secret that signs events to a job's own `webhook_url`. Each API key has one. Requires the "
    "scope `write`.",
    operation_id="getDefaultWebhookSecret",
    responses=problems("database_unavailable"),
)
@blueprint.output(SecretDocument, description="The secrets that are valid now.", example=examples.SECRET)
@require_scope(Scope.WRITE)
def get_default_secret() -> Response:
    with services().sessions.begin() as session:
        return jsonify(serialize_secrets(secrets.read(session, secrets.default_id(session, owner_id(), key_id()))))


@blueprint.post("/webhook-secret/rotate")
@blueprint.doc(
    summary="Rotate your key's secret",
    description="During the overlap every event is signed with both secrets.",
    operation_id="rotateDefaultWebhookSecret",
    responses=problems(*BODY_CODES, "database_unavailable"),
)
@blueprint.output(SecretDocument, description="The new secret, and the old one.", example=examples.SECRET)
def rotate_default_secret() -> Response:
    with services().sessions.begin() as session:
        secret_id = secrets.default_id(session, owner_id(), key_id())
    return _rotate(secret_id)


def _rotate(secret_id: uuid.UUID) -> Response:
    body = read_json(RotateRequest, is_optional=True)
    default_s = services().settings.webhooks.rotation_overlap_s
    with services().sessions.begin() as session:
        overlap_s = default_s if body.overlap_s is None else body.overlap_s
        return jsonify(serialize_secrets(secrets.rotate(session, secret_id, overlap_s)))


def read_endpoint(endpoint_id: str) -> WebhookEndpoint:
    """Returns the endpoint. Raises EndpointNotFound."""
    with services().sessions() as session:
        return endpoints.get(session, owner_id(), parse_endpoint_id(endpoint_id))


def parse_endpoint_id(text: str) -> uuid.UUID:
    """Parses an id. Raises EndpointNotFound if it is not a UUID, as for an unknown id."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise EndpointNotFound("no such endpoint; check the id") from None


def _documents(rows: Sequence[WebhookEndpoint]) -> list[Document]:
    with services().sessions() as session:
        backlogs = endpoints.backlogs(session, [row.id for row in rows])
    return [serialize_endpoint(row, backlogs[row.id]) for row in rows]
