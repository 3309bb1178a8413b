"""API keys: made, listed, revoked, and checked.

A key reads `enrich_<id>_<secret>`: 12 hex digits that are public and name the row, and 64 that are the secret (256
random bits). The fixed form lets secret scanners find a key that was committed by mistake.

Of the secret only its SHA-256 is kept. A slow hash such as argon2 protects passwords because people choose guessable
ones; nobody guesses 256 random bits, and a slow hash would cost every request what it costs an attacker.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from core.db.models import SYSTEM_OWNER, ApiKey
from core.db.serializers import iso
from core.errors import EnrichError

KEY = re.compile(r"enrich_(?P<id>[0-9a-f]{12})_(?P<secret>[0-9a-f]{64})")
# Also the name of a folder of uploads, see core/storage/uploads.py.
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
MAX_NAME_LENGTH = 200

TOUCH_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a write per request would cost more than it tells."""

_IS_STALE = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - TOUCH_EVERY)

# Compared with when there is no such key, so that a wrong id takes as long as a wrong secret.
_NO_DIGEST = "0" * 64


class Scope(enum.StrEnum):
    """What a key may do; each includes the one before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_GRANTED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.WRITE: frozenset({Scope.READ, Scope.WRITE}),
    Scope.ADMIN: frozenset(Scope),
}


class KeyNotMade(EnrichError):
    """What was asked of `create` cannot be; the text says why."""

    code = "key_not_made"


@dataclasses.dataclass(frozen=True)
class Caller:
    """Whom a key proved to be there: the owner, the key's public id, and all that it may do."""

    owner_id: str
    key_id: str
    scopes: frozenset[Scope]


def create(session: Session, *, owner_id: str, name: str, scopes: Iterable[Scope]) -> tuple[ApiKey, str]:
    """The row, and the key as text, which exists nowhere else. Raises KeyNotMade."""
    _check(owner_id, name)
    secret = secrets.token_hex(32)
    row = ApiKey(
        id=secrets.token_hex(6),
        owner_id=owner_id,
        name=name,
        secret_sha256=_digest(secret),
        scopes=sorted(scopes, key=list(Scope).index),
    )
    session.add(row)
    session.flush()
    return row, f"enrich_{row.id}_{secret}"


def _check(owner_id: str, name: str) -> None:
    if not OWNER.fullmatch(owner_id) or owner_id == SYSTEM_OWNER:
        raise KeyNotMade(f"an owner has letters, digits, - and _ only, at most 128, and is not `{SYSTEM_OWNER}`")
    if not name or not name.isprintable() or len(name) > MAX_NAME_LENGTH:
        raise KeyNotMade(f"a name has 1 to {MAX_NAME_LENGTH} printable characters")


def list_all(session: Session, owner_id: str | None = None) -> Sequence[ApiKey]:
    """All keys, or one owner's, the oldest first; revoked ones, too."""
    query = select(ApiKey).order_by(ApiKey.owner_id, ApiKey.created_at, ApiKey.id)
    return session.scalars(query.where(ApiKey.owner_id == owner_id) if owner_id else query).all()


def document(row: ApiKey) -> dict[str, object]:
    """The key as lists show it: all but the secret."""
    return {
        "id": row.id,
        "owner": row.owner_id,
        "name": row.name,
        "scopes": row.scopes,
        "created_at": iso(row.created_at),
        "last_used_at": iso(row.last_used_at),
        "revoked_at": iso(row.revoked_at),
    }


def revoke(session: Session, key_id: str) -> bool:
    """From now on the key opens nothing. False when there is none with this id that is not revoked already."""
    statement = update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    return session.execute(statement.returning(ApiKey.id)).one_or_none() is not None


def authenticate(session: Session, key: str) -> Caller | None:
    """Who holds this key; None when it is malformed, unknown, wrong or revoked."""
    found = KEY.fullmatch(key)
    if found is None:
        return None
    row = session.execute(select(ApiKey, _IS_STALE).where(ApiKey.id == found["id"])).one_or_none()
    api_key, is_stale = row or (None, False)
    is_right = hmac.compare_digest(_digest(found["secret"]), api_key.secret_sha256 if api_key else _NO_DIGEST)
    if api_key is None or not is_right or api_key.revoked_at is not None:
        return None
    if is_stale:
        session.execute(update(ApiKey).where(ApiKey.id == api_key.id, _IS_STALE).values(last_used_at=func.now()))
    return Caller(api_key.owner_id, api_key.id, granted(api_key.scopes))


def granted(scopes: Iterable[str]) -> frozenset[Scope]:
    """All that these scopes allow, those included in them, too."""
    return frozenset(each for scope in scopes for each in _GRANTED[Scope(scope)])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
