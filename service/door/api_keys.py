"""What an API key is: the text that a caller sends, the scopes that it opens, and what is kept of it."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

_PREFIX_BYTES: Final = 4
_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"cred_(?P<prefix>[0-9a-f]{8})_(?P<secret>[0-9a-f]{64})")


class Scope(StrEnum):
    """What a key opens: scoring, reading what was kept, sending feedback, or what only an operator does."""

    SCORE = "score"
    READ = "read"
    FEEDBACK = "feedback"
    ADMIN = "admin"


class KeyState(StrEnum):
    """Whether a key opens anything just now."""

    USABLE = "usable"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Token:
    """A key as its owner has it. The prefix may be shown to anybody, the secret to nobody."""

    prefix: str
    secret: str = field(repr=False)

    @classmethod
    def make(cls) -> Self:
        """Return a new token; its secret has 256 random bits."""
        return cls(secrets.token_hex(_PREFIX_BYTES), secrets.token_hex(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the token that a text is, or null."""
        found = _TOKEN.fullmatch(text)
        return None if found is None else cls(**found.groupdict())

    @property
    def text(self) -> str:
        """Return what goes into the header Authorization, after Bearer."""
        return f"cred_{self.prefix}_{self.secret}"

    @property
    def digest(self) -> str:
        """Return what is kept of the secret. It is long and random, so that one round of SHA-256 hides it."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


# Compared with where there is no key, so that the answer takes as long.
_NO_DIGEST: Final = Token.make().digest


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is kept."""

    prefix: str
    digest: str = field(repr=False)
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def state_at(self, now: datetime) -> KeyState:
        """Say whether the key opens anything at a time."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        return KeyState.USABLE


def proves(token: Token, key: StoredKey | None) -> bool:
    """Say whether a token is the secret of a key; it takes as long where there is no key."""
    is_same = hmac.compare_digest(token.digest, _NO_DIGEST if key is None else key.digest)
    return is_same and key is not None
