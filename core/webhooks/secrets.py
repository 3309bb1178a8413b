"""A receiver's secrets in the record: an endpoint's own, a key's default, and their rotation."""

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
    """What verifies now: `current`, and until `previous_until` also `previous`."""

    current: str
    previous: str | None = None
    previous_until: dt.datetime | None = None


def make(session: Session, owner_id: str) -> WebhookSecret:
    """A new endpoint's own secret."""
    row = WebhookSecret(id=uuid.uuid4(), owner_id=owner_id, current=new_secret())
    session.add(row)
    session.flush()
    return row


def default_id(session: Session, owner_id: str, key_id: str) -> uuid.UUID:
    """The id of the secret that one-off addresses of this key are signed with; made when first asked for."""
    known = select(WebhookSecret.id).where(WebhookSecret.owner_id == owner_id, WebhookSecret.key_id == key_id)
    if (found := session.scalar(known)) is not None:
        return found
    row = insert(WebhookSecret).values(id=uuid.uuid4(), owner_id=owner_id, key_id=key_id, current=new_secret())
    session.execute(row.on_conflict_do_nothing(index_elements=[WebhookSecret.owner_id, WebhookSecret.key_id]))
    return session.scalars(known).one()


def read(session: Session, secret_id: uuid.UUID) -> Secrets:
    """The secrets that are valid now."""
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
    """A new secret; the one before it stays valid for `overlap_s` seconds, one from before that does not."""
    overlap = cast(literal(dt.timedelta(seconds=overlap_s)), Interval)
    session.execute(
        update(WebhookSecret)
        .where(WebhookSecret.id == secret_id)
        .values(current=new_secret(), previous=WebhookSecret.current, previous_until=func.now() + overlap)
        .execution_options(synchronize_session=False)
    )
    return read(session, secret_id)
