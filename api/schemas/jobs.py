"""Pydantic models of the API. Requests are validated against them; responses are only documented by them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from core.states import Lane, Status


def check_plain(text: str) -> str:
    # Postgres rejects NUL, and other control characters are mistakes.
    if not text.isprintable():
        raise PydanticCustomError("not_plain", "Only printable characters are allowed")
    return text


ExternalId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_plain)]


class Request(BaseModel):
    """Base of all request models."""

    # A misspelled field must be an error, not ignored.
    model_config = ConfigDict(extra="forbid")


class JobRequest(Request):
    """A new job for the image at a URL."""

    url: str = Field(
        description="URL of the image: https, http or s3. Its query string is used for fetching and never returned.",
        # Checked with the address, whose error says what to do: the longest texts are `data:` URLs.
        json_schema_extra={"maxLength": 4096},
        examples=["https://shop.example/shirt.jpg"],
    )
    external_id: ExternalId | None = Field(
        None, description="Your own id of the image, such as a SKU.", examples=["sku-1"]
    )
    lane: Lane = Field(Lane.INTERACTIVE, description="`bulk` jobs never delay `interactive` jobs.")
    webhook_url: str | None = Field(
        None,
        description="URL that receives an event when this job finishes. Events are signed with your API key's secret: "
        "see /v1/webhook-secret.",
        max_length=4096,
        examples=["https://shop.example/hooks/enrich"],
    )


class UploadRequest(Request):
    """The form fields of an upload, besides the file."""

    external_id: ExternalId | None = None
    lane: Lane = Lane.INTERACTIVE
    webhook_url: str | None = Field(None, max_length=4096)


class JobHeaders(BaseModel):
    """Headers of a request that creates a job."""

    idempotency_key: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A unique key for this request. Repeating the request with the same key returns the same job.",
        examples=["order-4711-shirt"],
    )
    prefer: str | None = Field(
        None,
        max_length=200,
        description="`wait=N`: respond when the job is finished, or after N seconds. The service limits N (by default "
        "to 60).",
        examples=["wait=10"],
    )


class WaitQuery(Request):
    """How long to wait for a job to finish."""

    wait: int = Field(
        0,
        ge=0,
        le=86_400,
        description="Respond when the job is finished, or after this many seconds. The service limits the wait (by "
        "default to 60 s).",
        examples=[10],
    )


class JobsQuery(Request):
    """Filters and paging of the list of jobs."""

    cursor: str | None = Field(None, max_length=300, description="`next_cursor` of the previous page.")
    status: Status | None = Field(None, description="Only jobs with this status.")
    external_id: ExternalId | None = Field(None, description="Only jobs with this external id.")
    limit: int | None = Field(None, ge=1, le=1000, description="Maximum page size; the service has its own limit, too.")


class AssetDocument(BaseModel):
    """The image."""

    url: str = Field(description="The image's URL without the query string.")
    sha256: str | None
    width: int | None = Field(description="In pixels, after applying the EXIF orientation.")
    height: int | None
    format: str | None = Field(examples=["JPEG"])


class Alternative(BaseModel):
    """A candidate value with its score."""

    value: str
    score: float


class Prediction(BaseModel):
    """The model's prediction of one attribute."""

    model_config = ConfigDict(extra="allow")

    value: str | None = Field(
        description="`null` if the score is below the threshold; the best guess is the first alternative."
    )
    score: float = Field(
        ge=0, le=1, description="Calibrated confidence: of predictions with 0.9, nine in ten are right."
    )
    threshold: float = Field(ge=0, description="Minimum score for a value; above 1, the value is always `null`.")
    alternatives: list[Alternative] = Field(description="Best first.")


class ModelReference(BaseModel):
    """The model version that produced a result."""

    bundle: str
    version: str
    taxonomy: str


class ErrorDocument(BaseModel):
    """Why a job failed, or why it will be retried."""

    code: str = Field(description="Stable code, see /docs/errors.", examples=["fetch_timeout"])
    message: str
    retryable: bool


class JobDocument(BaseModel):
    """A job. Fields without a value yet are `null`."""

    id: uuid.UUID
    status: Status
    external_id: str | None
    lane: Lane
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    asset: AssetDocument
    metadata: dict[str, str | None] | None = Field(description="The catalogue entry; uncertain values are `null`.")
    predictions: dict[str, Prediction] | None = Field(description="By attribute.")
    in_domain: float | None = Field(
        description="Score from 0 to 1 that the image shows a product. Below 0.5 all metadata values are `null`. "
        "`null` if the model does not support this.",
    )
    caption_source: str | None = Field(
        description="Source of the display name: `decoder` (generated from the image by the captioner) or `structured` "
        "(composed from the predicted attributes, if there is no captioner or it timed out)."
    )
    model: ModelReference | None
    timings: dict[str, float | None] | None = Field(
        description="Duration of each step in milliseconds, and `batch_size`."
    )
    error: ErrorDocument | None


class JobPage(BaseModel):
    """One page of jobs, newest first."""

    jobs: list[JobDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; `null` on the last page.")


class TaxonomyDocument(BaseModel):
    """The possible values of each attribute."""

    model_config = ConfigDict(extra="allow")


class ModelDocument(BaseModel):
    """The current model."""

    bundle: str
    version: str
    registered_at: dt.datetime = Field(description="When a worker last started with this bundle.")
    description: dict[str, Any] = Field(description="Networks, thresholds and measured metrics.")
    card: str = Field(description="The model card, in Markdown.")


class HealthDocument(BaseModel):
    """The result of the liveness probe."""

    status: str = Field(examples=["ok"])


class ReadinessDocument(BaseModel):
    """The result of the readiness probe, with the state of each dependency."""

    status: str = Field(description="`ready`, or `degraded` if only the queue is down.", examples=["ready"])
    parts: dict[str, str] = Field(examples=[{"postgres": "ok", "schema": "ok", "storage": "ok", "redis": "ok"}])


class FieldProblem(BaseModel):
    """One invalid field."""

    location: str
    field: str
    message: str


class Problem(BaseModel):
    """An error in the format of RFC 9457."""

    type: str = Field(description="Link to the explanation of the code.", examples=["/docs/errors#job_not_found"])
    title: str = Field(examples=["Job not found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="Explanation for people.", examples=["no such job; check the id"])
    code: str = Field(description="Stable code for programs.", examples=["job_not_found"])
    instance: str = Field(description="The requested path.", examples=["/v1/jobs/0"])
    request_id: str = Field(description="Same as the header X-Request-Id.")
    errors: list[FieldProblem] = Field([], description="With `invalid_request`: the invalid fields.")
    parts: dict[str, str] = Field({}, description="With `not_ready`: the state of each dependency.")
