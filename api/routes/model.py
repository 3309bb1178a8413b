"""What the model knows, as the last worker that started has told the record."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, jsonify

from api.middleware.problems import ModelUnknown
from api.schemas import examples
from api.schemas.jobs import ModelDocument, TaxonomyDocument
from api.schemas.openapi import problems
from api.services import resources
from core.db.models import BundleRow
from core.db.serializers import iso
from core.jobs.queries import latest_bundle

blueprint = APIBlueprint(
    "model", __name__, url_prefix="/v1", tag={"name": "Model", "description": "What the answers are made of."}
)


@blueprint.get("/taxonomy")
@blueprint.doc(
    summary="Read the taxonomy",
    description="Every attribute with the values it may take.",
    operation_id="getTaxonomy",
    responses=problems("model_unavailable", "database_unavailable"),
)
@blueprint.output(TaxonomyDocument, description="The taxonomy.", example=examples.TAXONOMY)
def get_taxonomy() -> Response:
    return jsonify(_bundle().taxonomy)


@blueprint.get("/model")
@blueprint.doc(
    summary="Read the model",
    description="Name and version of the bundle that answers, what it is made of, and its model card.",
    operation_id="getModel",
    responses=problems("model_unavailable", "database_unavailable"),
)
@blueprint.output(ModelDocument, description="The model.", example=examples.MODEL)
def get_model() -> Response:
    bundle = _bundle()
    return jsonify(
        {
            "bundle": bundle.name,
            "version": bundle.version,
            "registered_at": iso(bundle.registered_at),
            "description": bundle.description,
            "card": bundle.card,
        }
    )


def _bundle() -> BundleRow:
    with resources().sessions() as session:
        bundle = latest_bundle(session)
    if bundle is None:
        raise ModelUnknown("no worker has started yet, so the model is not known; start one and ask again")
    return bundle
