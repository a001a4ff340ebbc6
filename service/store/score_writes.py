"""Writes scores and documents, on a connection whose transaction the caller has opened and has the turn in."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, select

from credence.labels import OUTCOMES
from credence.scoring import ModelInfo
from service.store.records import NewDocument, NewScore
from service.store.tables import documents, events, idempotency_keys, models, scores

SCORES_EVENT: Final = "scores"


def require_model(connection: Connection, info: ModelInfo) -> int:
    """Return the number of a model, which is entered at its first score."""
    known = connection.execute(select(models.c.seq).where(models.c.bundle_digest == info.bundle_digest)).scalar()
    if known is not None:
        return int(known)
    return int(connection.execute(insert(models).values(**asdict(info)).returning(models.c.seq)).scalar_one())


def insert_scores(
    connection: Connection,
    new: Sequence[NewScore],
    *,
    model_seq: int,
    scored_at: datetime,
    request_id: UUID,
    document_seq: int | None = None,
    batch: tuple[int, UUID] | None = None,
) -> None:
    """Insert scores, and the event that says so. ``batch`` is the number and the id of the batch that they are from."""
    if not new:
        return
    newest = int(connection.execute(select(func.coalesce(func.max(scores.c.seq), 0))).scalar_one())
    whole = {
        "scored_at": scored_at,
        "request_id": request_id,
        "document_seq": document_seq,
        "batch_seq": batch[0] if batch else None,
        "model_seq": model_seq,
    }
    connection.execute(insert(scores), [_to_row(item) | whole for item in new])
    last = int(connection.execute(select(func.max(scores.c.seq))).scalar_one())
    payload = {
        "first_seq": newest + 1,
        "last_seq": last,
        "n_scores": len(new),
        "request_id": str(request_id),
        "batch_id": str(batch[1]) if batch else None,
    }
    insert_event(connection, SCORES_EVENT, payload, at=scored_at)


def insert_document(
    connection: Connection,
    document: NewDocument,
    statements: Sequence[NewScore],
    *,
    info: ModelInfo,
    scored_at: datetime,
    request_id: UUID,
) -> None:
    """Insert a document and its statements."""
    model_seq = require_model(connection, info)
    values = {
        "id": document.id,
        "scored_at": scored_at,
        "request_id": request_id,
        "caller_id": document.caller_id,
        **asdict(document.tags),
        "text": document.text,
        "is_cut": document.is_cut,
        "n_statements": len(statements),
        "model_seq": model_seq,
    }
    seq = int(connection.execute(insert(documents).values(**values).returning(documents.c.seq)).scalar_one())
    insert_scores(
        connection, statements, model_seq=model_seq, scored_at=scored_at, request_id=request_id, document_seq=seq
    )


def insert_event(connection: Connection, kind: str, payload: dict[str, Any], *, at: datetime) -> None:
    """Say that something happened. The payload must not hold a text."""
    connection.execute(insert(events).values(created_at=at, kind=kind, payload=payload))


def claim_key(connection: Connection, key: str, request_id: UUID, *, at: datetime) -> UUID:
    """Return the request that an idempotency key stands for: this one, or the one that used the key before."""
    earlier = connection.execute(
        select(idempotency_keys.c.request_id).where(idempotency_keys.c.key == key)
    ).scalar_one_or_none()
    if earlier is not None:
        return UUID(str(earlier))
    connection.execute(insert(idempotency_keys).values(key=key, request_id=request_id, created_at=at))
    return request_id


def forget_keys(connection: Connection, before: datetime, *, limit: int) -> int:
    """Delete idempotency keys that are older, so many at most, and return how many."""
    old = select(idempotency_keys.c.key).where(idempotency_keys.c.created_at < before).limit(limit)
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.key.in_(old))).rowcount


def _to_row(new: NewScore) -> dict[str, Any]:
    score = asdict(new.score)
    given = score.pop("scores") or {}
    for name in ("model_version", "bundle_digest"):
        del score[name]
    return {
        "id": new.id,
        "caller_id": new.caller_id,
        **asdict(new.tags),
        "text": new.text,
        "batch_line": new.batch_line,
        **score,
        **{f"score_{outcome}": given.get(outcome) for outcome in OUTCOMES},
    }
