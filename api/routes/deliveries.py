"""The routes that answer "did you send it?": deliveries, attempts, and sending again."""

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
from api.services import resources
from core.errors import DeliveryNotFound
from core.webhooks import deliveries

TAG = {"name": "Webhook log", "description": "What was sent, what came of it, and sending it again."}

blueprint = APIBlueprint("webhook_log", __name__, url_prefix="/v1", tag=TAG)

DETAIL = examples.DELIVERY | {
    "attempts": [examples.ATTEMPT],
    "body": {"type": "job.succeeded", "timestamp": "2026-03-02T10:15:00.071000Z", "data": examples.SUCCEEDED},
}


@blueprint.get("/webhook-deliveries")
@blueprint.doc(
    summary="List deliveries",
    description="Newest first, to all endpoints and one-off addresses. `?job_id=` answers whether a job was told of.",
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
    description="Newest first.",
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
    with resources().sessions() as session:
        page = deliveries.page_of_deliveries(
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
    description="Every request that was made, newest first. With `?after=ID` oldest first, to follow what happens.",
    operation_id="listEndpointAttempts",
    responses=problems("endpoint_not_found", "invalid_request", "database_unavailable"),
)
@blueprint.input(AttemptsQuery, location="query", arg_name="query")
@blueprint.output(
    AttemptPage, description="One page of attempts.", example={"attempts": [examples.ATTEMPT], "next_cursor": None}
)
def list_attempts(endpoint_id: str, query: AttemptsQuery) -> Response:
    endpoint = read_endpoint(endpoint_id)
    with resources().sessions() as session:
        page = deliveries.page_of_attempts(
            session, endpoint, limit=_page_size(query.limit), before=query.cursor, after=query.after
        )
    return jsonify({"attempts": page.items, "next_cursor": page.next_cursor})


@blueprint.get("/webhook-deliveries/<delivery_id>")
@blueprint.doc(
    summary="Read a delivery",
    description="With all its attempts and the body that is sent.",
    operation_id="getWebhookDelivery",
    responses=problems("delivery_not_found", "database_unavailable"),
)
@blueprint.output(DeliveryDetail, description="The delivery.", example=DETAIL)
def get_delivery(delivery_id: str) -> Response:
    with resources().sessions() as session:
        return jsonify(deliveries.read_delivery(session, owner_id(), parse_delivery_id(delivery_id)))


@blueprint.post("/webhook-deliveries/<delivery_id>/replay")
@blueprint.doc(
    summary="Send a delivery again",
    description="At once, and from the schedule's start, under the same event id; also one that was delivered.",
    operation_id="replayWebhookDelivery",
    responses=problems("delivery_not_found", "endpoint_disabled", "database_unavailable"),
)
@blueprint.output(DeliveryDetail, status_code=202, description="The delivery, pending again.", example=DETAIL)
def replay_delivery(delivery_id: str) -> Response:
    with resources().sessions.begin() as session:
        deliveries.replay(session, owner_id(), parse_delivery_id(delivery_id))
        document = deliveries.read_delivery(session, owner_id(), parse_delivery_id(delivery_id))
    response = jsonify(document)
    response.status_code = 202
    return response


@blueprint.post("/webhook-endpoints/<endpoint_id>/replay")
@blueprint.doc(
    summary="Send failed deliveries again",
    description="All that failed for good of the events in a range of time.",
    operation_id="replayWebhookFailures",
    responses=problems(*BODY_CODES, "endpoint_not_found", "endpoint_disabled", "database_unavailable"),
)
@blueprint.output(ReplayDocument, status_code=202, description="How many begin anew.", example={"replayed": 17})
def replay_failures(endpoint_id: str) -> Response:
    endpoint = read_endpoint(endpoint_id)
    asked = read_json(ReplayRequest)
    with resources().sessions.begin() as session:
        count = deliveries.replay_failed(session, owner_id(), endpoint.id, since=asked.since, until=asked.until)
    response = jsonify({"replayed": count})
    response.status_code = 202
    return response


def parse_delivery_id(text: str) -> uuid.UUID:
    """Raises DeliveryNotFound: what is no id names no delivery."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise DeliveryNotFound("there is no such delivery under your key; check the id") from None


def _page_size(asked: int | None) -> int:
    most = resources().settings.api.page_size
    return min(asked or most, most)
