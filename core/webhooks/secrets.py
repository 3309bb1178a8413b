"""Signing secrets in the database: those of endpoints, the default of each API key, and their rotation."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid

from sqlalchemy import Interval, case, cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.webhook_models import WebhookSecret
from core.webhooks.signing import new_secret


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The valid secrets: `current`, and `previous` until `previous_until`."""

    current: str
    previous: str | None = None
    previous_until: dt.datetime | None = None


def make(session: Session, owner_id: str) -> WebhookSecret:
    """Creates a secret for a new endpoint."""
    row = WebhookSecret(id=uuid.uuid4(), owner_id=owner_id, current=new_secret())
    session.add(row)
    session.flush()
    return row


def default_id(session: Session, owner_id: str, key_id: str) -> uuid.UUID:
    """Returns the id of the API key's secret for one-off addresses. Creates the secret at the first call."""
    known = select(WebhookSecret.id).where(WebhookSecret.owner_id == owner_id, WebhookSecret.key_id == key_id)
    if (found := session.scalar(known)) is not None:
        return found
    row = insert(WebhookSecret).values(id=uuid.uuid4(), owner_id=owner_id, key_id=key_id, current=new_secret())
    session.execute(row.on_conflict_do_nothing(index_elements=[WebhookSecret.owner_id, WebhookSecret.key_id]))
    return session.scalars(known).one()


def read(session: Session, secret_id: uuid.UUID) -> Secrets:
    """Returns the secrets that are valid now."""
    is_valid = WebhookSecret.previous_until > func.now()
    row = session.execute(
        select(
            WebhookSecret.current,
            case((is_valid, WebhookSecret.previous)),
            case((is_valid, WebhookSecret.previous_until)),
        ).where(WebhookSecret.id == secret_id)
    ).one()
    return Secrets(*row)


def rotate(session: Session, secret_id: uuid.UUID, overlap_s: float) -> Secrets:
    """Creates a new secret. The current one stays valid for `overlap_s` seconds; an older one becomes invalid."""
    overlap = cast(literal(dt.timedelta(seconds=overlap_s)), Interval)
    session.execute(
        update(WebhookSecret)
        .where(WebhookSecret.id == secret_id)
        .values(current=new_secret(), previous=WebhookSecret.current, previous_until=func.now() + overlap)
        .execution_options(synchronize_session=False)
    )
    return read(session, secret_id)
