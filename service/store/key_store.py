"""Keeps API keys: their digests, never their secrets."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, insert, or_, select, update

from service.door.api_keys import KeyState, Scope, StoredKey, Token
from service.store.database import Database
from service.store.score_store import utc_now
from service.store.tables import api_keys

# The last use of a key is written so often at most.
USE_INTERVAL: Final = timedelta(minutes=1)
_SCOPES: Final = frozenset(scope.value for scope in Scope)


class KeyStore:
    """What is known of keys. Every method is one transaction, and raises ``StorageUnavailableError``."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    def create(
        self, name: str, scopes: Iterable[Scope], *, lifetime: timedelta | None = None
    ) -> tuple[StoredKey, Token]:
        """Make a key and return it with its token, which can be had only now. Without a lifetime it never expires."""
        at = self._now()
        with self._database.writing(takes_turn=False) as connection:
            token = Token.make()
            while connection.execute(select(api_keys.c.seq).where(api_keys.c.prefix == token.prefix)).first():
                token = Token.make()
            values = {
                "prefix": token.prefix,
                "digest": token.digest,
                "name": name,
                "scopes": sorted(set(scopes)),
                "created_at": at,
                "expires_at": None if lifetime is None else at + lifetime,
            }
            row = connection.execute(insert(api_keys).values(values).returning(*api_keys.c)).one()
        return _to_key(row), token

    def list_keys(self) -> list[StoredKey]:
        """Return all keys, the oldest first, whether they are usable or not."""
        with self._database.reading() as connection:
            return [_to_key(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.seq))]

    def has_usable(self) -> bool:
        """Say whether any key opens anything just now."""
        now = self._now()
        return any(key.state_at(now) is KeyState.USABLE for key in self.list_keys())

    def revoke(self, prefix: str) -> StoredKey | None:
        """Make a key useless for ever and return it, or null where there is none."""
        is_meant = api_keys.c.prefix == prefix
        with self._database.writing(takes_turn=False) as connection:
            is_new = and_(is_meant, api_keys.c.revoked_at.is_(None))
            connection.execute(update(api_keys).where(is_new).values(revoked_at=self._now()))
            row = connection.execute(select(api_keys).where(is_meant)).one_or_none()
        return None if row is None else _to_key(row)

    def note_use(self, prefix: str, at: datetime) -> None:
        """Enter when a key was used, unless an entry of the last minute is there."""
        last = api_keys.c.last_used_at
        is_old: ColumnElement[bool] = or_(last.is_(None), last <= at - USE_INTERVAL)
        with self._database.writing(takes_turn=False) as connection:
            connection.execute(update(api_keys).where(api_keys.c.prefix == prefix, is_old).values(last_used_at=at))


def _to_key(row: Any) -> StoredKey:
    return StoredKey(
        prefix=row.prefix,
        digest=row.digest,
        name=row.name,
        # A later version may have given a scope that this one does not know.
        scopes=frozenset(Scope(scope) for scope in row.scopes if scope in _SCOPES),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
