"""The JSON of the API, as Pydantic models: what is taken is checked by them, what is given is documented by them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from core.states import Lane, Status


def check_plain(text: str) -> str:
    # Postgres takes no NUL, and nobody means the others.
    if not text.isprintable():
        raise PydanticCustomError("not_plain", "Only printable characters are taken")
    return text


ExternalId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_plain)]


class Request(BaseModel):
    """What a caller sends."""

    # A misspelt field is an error, not a silence.
    model_config = ConfigDict(extra="forbid")


class JobRequest(Request):
    """A picture by its address."""

    url: str = Field(
        description="Address of the picture: https, http or s3. Its query string is used and never shown again.",
        max_length=4096,
        examples=["https://shop.example/shirt.jpg"],
    )
    external_id: ExternalId | None = Field(None, description="Your own name for it, such as a SKU.", examples=["sku-1"])
    lane: Lane = Field(Lane.INTERACTIVE, description="`bulk` work never stands before `interactive` work.")
    webhook_url: str | None = Field(
        None,
        description="Address to be told of this job's end, signed with your key's secret: see /v1/webhook-secret.",
        max_length=4096,
        examples=["https://shop.example/hooks/enrich"],
    )


class UploadRequest(Request):
    """The form fields beside the file."""

    external_id: ExternalId | None = None
    lane: Lane = Lane.INTERACTIVE
    webhook_url: str | None = Field(None, max_length=4096)


class JobHeaders(BaseModel):
    """Headers of a new job."""

    idempotency_key: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A name for this request: sent again with the same key, it answers the same job.",
        examples=["order-4711-shirt"],
    )
    prefer: str | None = Field(
        None,
        max_length=200,
        description="`wait=N`: answer when the job has ended, after at most N seconds (60 by default).",
        examples=["wait=10"],
    )


class WaitQuery(Request):
    """How long to wait for the end of a job."""

    wait: int = Field(
        0,
        ge=0,
        le=86_400,
        description="Answer when the job has ended, after at most this many seconds. Longer waits are cut to 60.",
        examples=[10],
    )


class JobsQuery(Request):
    """Which jobs to list."""

    cursor: str | None = Field(None, max_length=300, description="`next_cursor` of the page before.")
    status: Status | None = Field(None, description="Only jobs in this state.")
    external_id: ExternalId | None = Field(None, description="Only jobs with this name of yours.")
    limit: int | None = Field(None, ge=1, le=1000, description="Most jobs in the page; the service has its own limit.")


class AssetDocument(BaseModel):
    """The picture itself."""

    url: str = Field(description="Its address without the query string.")
    sha256: str | None
    width: int | None = Field(description="Pixels, as a person sees it (EXIF applied).")
    height: int | None
    format: str | None = Field(examples=["JPEG"])


class Alternative(BaseModel):
    """A value the model also thought of."""

    value: str
    score: float


class Prediction(BaseModel):
    """One attribute: what the model thinks and how sure it is."""

    model_config = ConfigDict(extra="allow")

    value: str | None = Field(description="`null` = not sure enough; the best guess is the first alternative.")
    score: float = Field(ge=0, le=1, description="Calibrated: of answers with 0.9, nine in ten are right.")
    threshold: float = Field(ge=0, description="The score from which on a value is given; above 1 = never.")
    alternatives: list[Alternative] = Field(description="Best first.")


class ModelReference(BaseModel):
    """The model that answered."""

    bundle: str
    version: str
    taxonomy: str


class ErrorDocument(BaseModel):
    """Why a job failed, or why it will be tried again."""

    code: str = Field(description="Stable: see /docs/errors.", examples=["fetch_timeout"])
    message: str
    retryable: bool


class JobDocument(BaseModel):
    """A job. What does not exist yet is `null`."""

    id: uuid.UUID
    status: Status
    external_id: str | None
    lane: Lane
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    asset: AssetDocument
    metadata: dict[str, str | None] | None = Field(description="The catalogue entry; `null` values = not sure enough.")
    predictions: dict[str, Prediction] | None = Field(description="By attribute.")
    in_domain: float | None = Field(
        description="How much the picture looks like one of a product, 0 to 1. Below .5 nothing is answered. "
        "`null`: the model cannot tell.",
    )
    caption_source: str | None = Field(
        description="What wrote the display name: `decoder` (the captioner, from the picture) or `structured` (put "
        "together from the answered attributes, where there is no captioner or it ran out of time)."
    )
    model: ModelReference | None
    timings: dict[str, float | None] | None = Field(description="Milliseconds per step, and `batch_size`.")
    error: ErrorDocument | None


class JobPage(BaseModel):
    """One page of jobs, newest first."""

    jobs: list[JobDocument]
    next_cursor: str | None = Field(description="Ask with it for the next page; `null` on the last one.")


class TaxonomyDocument(BaseModel):
    """The values that each attribute may take."""

    model_config = ConfigDict(extra="allow")


class ModelDocument(BaseModel):
    """The model that answers now."""

    bundle: str
    version: str
    registered_at: dt.datetime = Field(description="When a worker last started with it.")
    description: dict[str, Any] = Field(description="Networks, thresholds, measured figures.")
    card: str = Field(description="The model card, in Markdown.")


class HealthDocument(BaseModel):
    """A sign of life."""

    status: str = Field(examples=["ok"])


class ReadinessDocument(BaseModel):
    """Whether requests can be served, part by part."""

    status: str = Field(description="`ready`, or `degraded` when only the queue is down.", examples=["ready"])
    parts: dict[str, str] = Field(examples=[{"postgres": "ok", "schema": "ok", "storage": "ok", "redis": "ok"}])


class FieldProblem(BaseModel):
    """One wrong field."""

    location: str
    field: str
    message: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str = Field(description="Leads to an explanation of the code.", examples=["/docs/errors#job_not_found"])
    title: str = Field(examples=["Job not found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What to do, in words.", examples=["there is no such job under your key"])
    code: str = Field(description="Stable: branch on this.", examples=["job_not_found"])
    instance: str = Field(description="The path that was asked.", examples=["/v1/jobs/0"])
    request_id: str = Field(description="Also in the header X-Request-Id.")
    errors: list[FieldProblem] = Field([], description="With `invalid_request`: each wrong field.")
    parts: dict[str, str] = Field({}, description="With `not_ready`: what is missing.")
