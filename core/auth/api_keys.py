"""API keys: create, list, revoke and authenticate.

A key has the form `enrich_<id>_<secret>`. The id (12 hex digits) is public and identifies the row; the secret (64 hex
digits) has 256 random bits. The fixed form lets secret scanners detect keys that were committed by mistake.

Only the SHA-256 of the secret is stored. Slow hashes such as argon2 protect guessable passwords. A secret of 256 random
bits cannot be guessed, and a slow hash would add its cost to every request.
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
# Owners are also folder names in core/storage/uploads.py.
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
MAX_NAME_LENGTH = 200

LAST_USED_PRECISION = timedelta(minutes=1)
"""`last_used_at` is updated at most this often, to avoid a write per request."""

_IS_STALE = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - LAST_USED_PRECISION)

# Compared with if the id is unknown, so that an unknown id takes as long as a wrong secret.
_NO_DIGEST = "0" * 64


class Scope(enum.StrEnum):
    """The permissions of a key. Each scope includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_GRANTED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.WRITE: frozenset({Scope.READ, Scope.WRITE}),
    Scope.ADMIN: frozenset(Scope),
}


class InvalidKeyRequest(EnrichError):
    """The owner or the name of a new key is not valid."""

    code = "key_not_made"


@dataclasses.dataclass(frozen=True)
class Caller:
    """An authenticated caller. `scopes` includes all implied scopes."""

    owner_id: str
    key_id: str
    scopes: frozenset[Scope]


def create(session: Session, *, owner_id: str, name: str, scopes: Iterable[Scope]) -> tuple[ApiKey, str]:
    """Creates a key. Returns its row and its text, which is not stored. Raises InvalidKeyRequest."""
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
        raise InvalidKeyRequest(
            f"an owner must have 1 to 128 letters, digits, - and _, and must not be `{SYSTEM_OWNER}`"
        )
    if not name or not name.isprintable() or len(name) > MAX_NAME_LENGTH:
        raise InvalidKeyRequest(f"a name must have 1 to {MAX_NAME_LENGTH} printable characters")


def list_all(session: Session, owner_id: str | None = None) -> Sequence[ApiKey]:
    """Returns all keys or those of one owner, oldest first, including revoked ones."""
    query = select(ApiKey).order_by(ApiKey.owner_id, ApiKey.created_at, ApiKey.id)
    return session.scalars(query.where(ApiKey.owner_id == owner_id) if owner_id else query).all()


def document(row: ApiKey) -> dict[str, object]:
    """Returns the key as JSON, without its secret."""
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
    """Revokes the key. Returns False if it does not exist or is already revoked."""
    statement = update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    return session.execute(statement.returning(ApiKey.id)).one_or_none() is not None


def authenticate(session: Session, key: str) -> Caller | None:
    """Returns the caller that holds this key, or None if the key is malformed, unknown, wrong or revoked."""
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
    return Caller(api_key.owner_id, api_key.id, expand_scopes(api_key.scopes))


def expand_scopes(scopes: Iterable[str]) -> frozenset[Scope]:
    """Returns these scopes and all scopes that they include."""
    return frozenset(each for scope in scopes for each in _GRANTED[Scope(scope)])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
