"""Routes for webhook deliveries and their attempts, and for replaying deliveries."""

from __future__ import annotations

import uuid

from apiflask import APIBlueprint
from flask import Response, jsonify

from api.middleware.auth import owner_id
from api.request_parsing import read_json
from api.routes.webhooks import BODY_CODES, read_endpoint
from api.schemas import examples
from api.schemas.openapi import problems
from api.schemas.webhooks import (
    AttemptPage,
    AttemptsQuery,
    DeliveriesQuery,
    DeliveryDetail,
    DeliveryPage,
    ReplayDocument,
    ReplayRequest,
)
from api.services import services
from core.errors import DeliveryNotFound
from core.webhooks import deliveries

TAG = {"name": "Webhook deliveries", "description": "Deliveries, their attempts, and replays."}

blueprint = APIBlueprint("webhook_deliveries", __name__, url_prefix="/v1", tag=TAG)

DETAIL = examples.DELIVERY | {
    "attempts": [examples.ATTEMPT],
    "body": {"type": "job.succeeded", "timestamp": "2026-03-02T10:15:00.071000Z", "data": examples.SUCCEEDED},
}


@blueprint.get("/webhook-deliveries")
@blueprint.doc(
    summary="List deliveries",
    description="Deliveries to all endpoints and to the `webhook_url` of single jobs, newest first. Use `?job_id=` to "
    "find the deliveries of one job.",
    operation_id="listWebhookDeliveries",
    responses=problems("invalid_cursor", "invalid_request", "database_unavailable"),
)
@blueprint.input(DeliveriesQuery, location="query", arg_name="query")
@blueprint.output(
    DeliveryPage,
    description="One page of deliveries.",
    example={"deliveries": [examples.DELIVERY], "next_cursor": None},
)
def list_deliveries(query: DeliveriesQuery) -> Response:
    return _page_of_deliveries(query)


@blueprint.get("/webhook-endpoints/<endpoint_id>/deliveries")
@blueprint.doc(
    summary="List an endpoint's deliveries",
    description="Deliveries to one endpoint, newest first.",
    operation_id="listEndpointDeliveries",
    responses=problems("endpoint_not_found", "invalid_cursor", "invalid_request", "database_unavailable"),
)
@blueprint.input(DeliveriesQuery, location="query", arg_name="query")
@blueprint.output(
    DeliveryPage,
    description="One page of deliveries.",
    example={"deliveries": [examples.DELIVERY], "next_cursor": None},
)
def list_endpoint_deliveries(endpoint_id: str, query: DeliveriesQuery) -> Response:
    return _page_of_deliveries(query, read_endpoint(endpoint_id).id)


def _page_of_deliveries(query: DeliveriesQuery, endpoint_id: uuid.UUID | None = None) -> Response:
    with services().sessions() as session:
        page = deliveries.list_deliveries(
            session,
            owner_id(),
            limit=_page_size(query.limit),
            cursor=query.cursor,
            endpoint_id=endpoint_id,
            job_id=query.job_id,
            status=query.status,
        )
    return jsonify({"deliveries": page.items, "next_cursor": page.next_cursor})


@blueprint.get("/webhook-endpoints/<endpoint_id>/attempts")
@blueprint.doc(
    summary="List an endpoint's attempts",
    description="Every request sent to the endpoint, newest first. With `?after=ID` only newer attempts, oldest first.",
    operation_id="listEndpointAttempts",
    responses=problems("endpoint_not_found", "invalid_request", "database_unavailable"),
)
@blueprint.input(AttemptsQuery, location="query", arg_name="query")
@blueprint.output(
    AttemptPage, description="One page of attempts.", example={"attempts": [examples.ATTEMPT], "next_cursor": None}
)
def list_attempts(endpoint_id: str, query: AttemptsQuery) -> Response:
    endpoint = read_endpoint(endpoint_id)
    with services().sessions() as session:
        page = deliveries.list_attempts(
            session, endpoint, limit=_page_size(query.limit), before=query.cursor, after=query.after
        )
    return jsonify({"attempts": page.items, "next_cursor": page.next_cursor})


@blueprint.get("/webhook-deliveries/<delivery_id>")
@blueprint.doc(
    summary="Get a delivery",
    description="Returns the delivery with its attempts and the request body.",
    operation_id="getWebhookDelivery",
    responses=problems("delivery_not_found", "database_unavailable"),
)
@blueprint.output(DeliveryDetail, description="The delivery.", example=DETAIL)
def get_delivery(delivery_id: str) -> Response:
    with services().sessions() as session:
        return jsonify(deliveries.get_delivery(session, owner_id(), parse_delivery_id(delivery_id)))


@blueprint.post("/webhook-deliveries/<delivery_id>/replay")
@blueprint.doc(
    summary="Replay a delivery",
    description="Sends the delivery again immediately, under the same event id, and restarts its retry schedule. "
    "Successful deliveries can be replayed, too.",
    operation_id="replayWebhookDelivery",
    responses=problems("delivery_not_found", "endpoint_disabled", "database_unavailable"),
)
@blueprint.output(DeliveryDetail, status_code=202, description="The delivery is pending again.", example=DETAIL)
def replay_delivery(delivery_id: str) -> Response:
    with services().sessions.begin() as session:
        deliveries.replay(session, owner_id(), parse_delivery_id(delivery_id))
        document = deliveries.get_delivery(session, owner_id(), parse_delivery_id(delivery_id))
    response = jsonify(document)
    response.status_code = 202
    return response


@blueprint.post("/webhook-endpoints/<endpoint_id>/replay")
@blueprint.doc(
    summary="Replay failed deliveries",
    description="Sends again all failed deliveries whose events lie in a time range.",
    operation_id="replayWebhookFailures",
    responses=problems(*BODY_CODES, "endpoint_not_found", "endpoint_disabled", "database_unavailable"),
)
@blueprint.output(
    ReplayDocument, status_code=202, description="Number of replayed deliveries.", example={"replayed": 17}
)
def replay_failures(endpoint_id: str) -> Response:
    endpoint = read_endpoint(endpoint_id)
    body = read_json(ReplayRequest)
    with services().sessions.begin() as session:
        count = deliveries.replay_failed(session, owner_id(), endpoint.id, since=body.since, until=body.until)
    response = jsonify({"replayed": count})
    response.status_code = 202
    return response


def parse_delivery_id(text: str) -> uuid.UUID:
    """Parses an id. Raises DeliveryNotFound if it is not a UUID, as for an unknown id."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise DeliveryNotFound("no such delivery; check the id") from None


def _page_size(limit: int | None) -> int:
    max_size = services().settings.api.page_size
    return min(limit or max_size, max_size)
