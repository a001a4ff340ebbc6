"""Reads scores and documents, on a connection that the caller has opened."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from credence.labels import OUTCOMES
from credence.scoring import ModelInfo, StatementScore
from service.store.records import NO_LABEL, ScoreFilter, StoredDocument, StoredScore, Tags
from service.store.tables import batches, documents, feedback, idempotency_keys, models, scores

_DISPUTES: Final = (
    select(func.count())
    .select_from(feedback)
    .where(feedback.c.score_seq == scores.c.seq, feedback.c.is_dispute)
    .scalar_subquery()
)
# It begins with the few that are disputed; asking of each score would go through all of them.
DISPUTED: Final = scores.c.seq.in_(select(feedback.c.score_seq).where(feedback.c.is_dispute))
_TEXT: Final = func.coalesce(
    scores.c.text, func.substr(documents.c.text, scores.c.start_char + 1, scores.c.end_char - scores.c.start_char)
)
_SOURCE: Final = (
    scores.join(models, models.c.seq == scores.c.model_seq)
    .outerjoin(documents, documents.c.seq == scores.c.document_seq)
    .outerjoin(batches, batches.c.seq == scores.c.batch_seq)
)
_SELECT: Final = select(
    scores,
    _TEXT.label("statement_text"),
    _DISPUTES.label("n_disputes"),
    documents.c.id.label("stored_document_id"),
    batches.c.id.label("batch_id"),
    models.c.model_version,
    models.c.bundle_digest,
    models.c.calibration_id,
).select_from(_SOURCE)
_TOLD: Final = (
    scores.c.id.label("score_id"),
    *(scores.c[name] for name in ("scored_at", "label", "reason", "outcome", "confidence", "language")),
    *(scores.c[name] for name in ("source", "author", "document_id")),
    models.c.model_version,
)
# What a row has under the very name of the field.
_SCORE_NAMES: Final = {field.name for field in fields(StatementScore)} - {"scores", "prediction_set"}
_STORED_NAMES: Final = {field.name for field in fields(StoredScore)} - {"tags", "text", "score"}
_MODEL_COLUMNS: Final = tuple(models.c[field.name] for field in fields(ModelInfo))


def conditions(chosen: ScoreFilter) -> list[ColumnElement[bool]]:
    """Turn a filter into conditions on the table of scores."""
    found: list[ColumnElement[bool]] = []
    for name in ("reason", "language", "source", "author", "document_id"):
        if (value := getattr(chosen, name)) is not None:
            found.append(scores.c[name] == value)
    if chosen.label is not None:
        found.append(scores.c.label.is_(None) if chosen.label == NO_LABEL else scores.c.label == chosen.label)
    bounds = (
        (chosen.since, scores.c.scored_at.__ge__),
        (chosen.until, scores.c.scored_at.__lt__),
        (chosen.min_confidence, scores.c.confidence.__ge__),
        (chosen.max_confidence, scores.c.confidence.__le__),
    )
    found.extend(compare(value) for value, compare in bounds if value is not None)
    if chosen.model_version is not None:
        versions = select(models.c.seq).where(models.c.model_version == chosen.model_version)
        found.append(scores.c.model_seq.in_(versions))
    if chosen.batch_id is not None:
        found.append(scores.c.batch_seq.in_(select(batches.c.seq).where(batches.c.id == chosen.batch_id)))
    if chosen.is_disputed is not None:
        found.append(DISPUTED if chosen.is_disputed else ~DISPUTED)
    return found


def read_span(connection: Connection, chosen: ScoreFilter) -> tuple[int, int] | None:
    """Return the first and the last number of the scores in a filter's span of time, or null where it has no bound.

    Between them the newest are found without looking at what is newer, and without sorting. (0, 0) where it is empty.
    """
    times = ScoreFilter(since=chosen.since, until=chosen.until)
    if times == ScoreFilter():
        return None
    # For the plain number PostgreSQL would go through the table in its order until it comes to the span.
    seq = scores.c.seq + 0
    query = select(func.coalesce(func.min(seq), 0), func.coalesce(func.max(seq), 0))
    first, last = connection.execute(query.where(*conditions(times))).one()
    return first, last


def read_scores(
    connection: Connection,
    chosen: ScoreFilter,
    *,
    limit: int,
    before_seq: int | None = None,
    after_seq: int | None = None,
    span: tuple[int, int] | None = None,
) -> list[StoredScore]:
    """Return the newest scores that a filter lets through, newest first; after ``after_seq``, the oldest first.

    ``span`` is what ``read_span`` has found for the filter.
    """
    query = _SELECT.where(*conditions(chosen)).limit(limit)
    if span is not None:
        query = query.where(scores.c.seq.between(*span))
    if before_seq is not None:
        query = query.where(scores.c.seq < before_seq)
    if after_seq is not None:
        query = query.where(scores.c.seq > after_seq)
    return _stored(connection, query.order_by(scores.c.seq.desc() if after_seq is None else scores.c.seq))


def read_score_range(
    connection: Connection, *, first_seq: int, last_seq: int, label: str | None = None
) -> list[dict[str, Any]]:
    """Return what an event tells of its scores, the oldest first, without those that were deleted since: no texts."""
    query = select(*_TOLD).join(models, models.c.seq == scores.c.model_seq)
    query = query.where(scores.c.seq.between(first_seq, last_seq), *conditions(ScoreFilter(label=label)))
    return [dict(row._mapping) for row in connection.execute(query.order_by(scores.c.seq))]


def read_scores_by_seq(connection: Connection, seqs: Sequence[int]) -> list[StoredScore]:
    """Return the scores with these numbers, the oldest first, without those that were deleted since."""
    return _stored(connection, _SELECT.where(scores.c.seq.in_(seqs)).order_by(scores.c.seq))


def read_score(connection: Connection, score_id: UUID) -> StoredScore | None:
    """Return one score, or null."""
    return next(iter(_stored(connection, _SELECT.where(scores.c.id == score_id))), None)


def read_request(connection: Connection, request_id: UUID) -> list[StoredScore]:
    """Return the scores of one request in the order of the request."""
    return _stored(connection, _SELECT.where(scores.c.request_id == request_id).order_by(scores.c.seq))


def find_request(connection: Connection, key: str) -> UUID | None:
    """Return the request that used an idempotency key, or null."""
    return connection.execute(
        select(idempotency_keys.c.request_id).where(idempotency_keys.c.key == key)
    ).scalar_one_or_none()


def read_document(connection: Connection, document_id: UUID) -> StoredDocument | None:
    """Return a document with its statements, or null."""
    return _document(connection, documents.c.id == document_id)


def read_document_of_request(connection: Connection, request_id: UUID) -> StoredDocument | None:
    """Return the document that was kept for a request, or null."""
    return _document(connection, documents.c.request_id == request_id)


def read_model(connection: Connection, bundle_digest: str) -> ModelInfo | None:
    """Return a model that has made a score, or null."""
    row = connection.execute(select(*_MODEL_COLUMNS).where(models.c.bundle_digest == bundle_digest)).one_or_none()
    return None if row is None else ModelInfo(**row._mapping)


def _document(connection: Connection, condition: ColumnElement[bool]) -> StoredDocument | None:
    query = select(documents, *_MODEL_COLUMNS).join(models, models.c.seq == documents.c.model_seq)
    row = connection.execute(query.where(condition)).one_or_none()
    if row is None:
        return None
    statements = _stored(connection, _SELECT.where(scores.c.document_seq == row.seq).order_by(scores.c.seq))
    return StoredDocument(
        id=row.id,
        scored_at=row.scored_at,
        request_id=row.request_id,
        caller_id=row.caller_id,
        tags=_tags(row),
        text=row.text,
        is_cut=row.is_cut,
        model=ModelInfo(**{field.name: row._mapping[field.name] for field in fields(ModelInfo)}),
        statements=tuple(statements),
    )


def _stored(connection: Connection, query: Select[Any]) -> list[StoredScore]:
    return [_to_stored(row) for row in connection.execute(query)]


def _to_stored(row: Row[Any]) -> StoredScore:
    columns = row._mapping
    score = StatementScore(
        **{name: columns[name] for name in _SCORE_NAMES},
        scores={o: columns[f"score_{o}"] for o in OUTCOMES} if row.confidence is not None else None,
        prediction_set=tuple(row.prediction_set) if row.prediction_set is not None else None,
    )
    return StoredScore(
        **{name: columns[name] for name in _STORED_NAMES}, tags=_tags(row), text=row.statement_text, score=score
    )


def _tags(row: Row[Any]) -> Tags:
    return Tags(row.source, row.author, row.document_id)
