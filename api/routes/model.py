"""Routes for the model and its taxonomy, as registered in the database by the worker that started last."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, jsonify

from api.middleware.problems import ModelUnknown
from api.schemas import examples
from api.schemas.jobs import ModelDocument, TaxonomyDocument
from api.schemas.openapi import problems
from api.services import services
from core.db.models import BundleRow
from core.db.serializers import iso
from core.jobs.queries import latest_bundle

blueprint = APIBlueprint(
    "model", __name__, url_prefix="/v1", tag={"name": "Model", "description": "The current model and its taxonomy."}
)


@blueprint.get("/taxonomy")
@blueprint.doc(
    summary="Get the taxonomy",
    description="Returns every attribute with its possible values.",
    operation_id="getTaxonomy",
    responses=problems("model_unavailable", "database_unavailable"),
)
@blueprint.output(TaxonomyDocument, description="The taxonomy.", example=examples.TAXONOMY)
def get_taxonomy() -> Response:
    return jsonify(_bundle().taxonomy)


@blueprint.get("/model")
@blueprint.doc(
    summary="Get the model",
    description="Returns the name, version and description of the current model bundle, and its model card.",
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
    with services().sessions() as session:
        bundle = latest_bundle(session)
    if bundle is None:
        raise ModelUnknown("no worker has registered a model yet; start a worker")
    return bundle
