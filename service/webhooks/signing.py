"""Signs what webhooks are told, after Standard Webhooks (https://www.standardwebhooks.com)."""

import hmac
import secrets
from base64 import b64decode, b64encode
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

SECRET_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_secret() -> str:
    """Return a random secret as receivers are given it: its bytes in base64, after a prefix."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def build_headers(secret: str, delivery_id: UUID, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that identify and sign an attempt that is made at a time; the id is that of every attempt."""
    timestamp = str(int(at.timestamp()))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.digest(b64decode(secret.removeprefix(SECRET_PREFIX)), signed, sha256)
    return {
        "webhook-id": str(delivery_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }
