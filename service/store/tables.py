"""The tables, once for SQLite and PostgreSQL. A change here needs a migration in ``service/store/migrations``.

Times are whole microseconds since 1970 in UTC, so that both databases sort, compare and bucket them alike.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
)

from credence.labels import OUTCOMES
from service.store.records import MAX_TAG_CHARS as MAX_TAG_CHARS

MAX_FAILURE_CHARS: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware ``datetime`` that is stored as microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn a time into microseconds."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Turn microseconds into a time."""
        return None if value is None else from_microseconds(value)


def to_microseconds(time: datetime) -> int:
    """Return the microseconds from 1970 to an aware time."""
    return (time - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the UTC time that so many microseconds after 1970 is; raises ``OverflowError`` beyond the year 9999."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _sequence() -> Column[int]:
    # SQLite counts rows by itself only under this very type, and never uses a number again only when told so.
    return Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _reference(name: str, target: str, *, nullable: bool = False, ondelete: str | None = None) -> Column[Any]:
    return Column(name, BigInteger, ForeignKey(target, ondelete=ondelete), nullable=nullable)


def _tag(name: str) -> Column[str]:
    return Column(name, String(MAX_TAG_CHARS))


metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row. Whoever writes raises the revision first and so takes the turn: numbers are then given in the order in which
# they become visible, in both databases, and a reader knows by the revision whether anything changed.
store_state: Final = Table(
    "store_state",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    # How far into ``events`` the webhooks have been told.
    Column("announced_event_seq", BigInteger, nullable=False, server_default="0"),
)

models: Final = Table(
    "models",
    metadata,
    _sequence(),
    Column("model_version", String(100), nullable=False),
    Column("bundle_digest", String(64), nullable=False, unique=True),
    Column("calibration_id", String(64), nullable=False),
    Column("codebook_version", Integer, nullable=False),
    Column("mlflow_run_id", String(64), nullable=False),
    Column("data_digests", JSON, nullable=False),
    sqlite_autoincrement=True,
)

documents: Final = Table(
    "documents",
    metadata,
    _sequence(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("scored_at", UtcTime, nullable=False),
    Column("request_id", Uuid, nullable=False),
    Column("caller_id", Text),
    _tag("source"),
    _tag("author"),
    _tag("document_id"),
    Column("text", Text, nullable=False),
    Column("is_cut", Boolean, nullable=False),
    Column("n_statements", Integer, nullable=False),
    _reference("model_seq", "models.seq"),
    Index(None, "scored_at"),
    Index(None, "request_id"),
    Index(None, "source"),
    Index(None, "document_id"),
    sqlite_autoincrement=True,
)

batches: Final = Table(
    "batches",
    metadata,
    _sequence(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("idempotency_key", String(MAX_TAG_CHARS), unique=True),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("state", String(20), nullable=False),
    # Whether every row of the upload lies in the queue.
    Column("is_split", Boolean, nullable=False),
    Column("format", String(20), nullable=False),
    Column("encoding", String(40), nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    # How much of the upload has been read into the queue.
    Column("n_read_bytes", BigInteger, nullable=False),
    Column("is_stored", Boolean, nullable=False),
    _tag("source"),
    _tag("author"),
    # Which folder of uploads holds the file, and with it the rows of a batch that is not stored.
    Column("spool_id", Uuid, nullable=False),
    Column("n_rows", BigInteger, nullable=False),
    Column("n_chunks", Integer, nullable=False),
    Column("n_done_rows", BigInteger, nullable=False),
    Column("n_done_chunks", Integer, nullable=False),
    Column("n_error_rows", BigInteger, nullable=False),
    Column("failure", String(MAX_FAILURE_CHARS)),
    # Who splits the upload into chunks just now.
    Column("split_claim_id", Uuid),
    Column("split_lease_until", UtcTime),
    # Of the API key that it was sent with.
    Column("key_prefix", String(16)),
    Index(None, "state"),
    Index(None, "created_at"),
    sqlite_autoincrement=True,
)

batch_chunks: Final = Table(
    "batch_chunks",
    metadata,
    _sequence(),
    _reference("batch_seq", "batches.seq", ondelete="CASCADE"),
    Column("number", Integer, nullable=False),
    Column("n_rows", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("claim_id", Uuid),
    Column("lease_until", UtcTime),
    # How often scoring it has failed unexpectedly.
    Column("n_failures", Integer, nullable=False),
    Column("finished_at", UtcTime),
    # Compressed; null for a batch that is not stored, whose rows and results lie in the folder of uploads.
    Column("rows", LargeBinary),
    Column("results", LargeBinary),
    UniqueConstraint("batch_seq", "number"),
    Index("ix_batch_chunks_claim", "state", "batch_seq", "number"),
    sqlite_autoincrement=True,
)

scores: Final = Table(
    "scores",
    metadata,
    _sequence(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("scored_at", UtcTime, nullable=False),
    Column("request_id", Uuid, nullable=False),
    Column("caller_id", Text),
    _tag("source"),
    _tag("author"),
    _tag("document_id"),
    _reference("document_seq", "documents.seq", nullable=True, ondelete="CASCADE"),
    _reference("batch_seq", "batches.seq", nullable=True, ondelete="SET NULL"),
    # Counts from 1 in the file of a batch.
    Column("batch_line", BigInteger),
    # Null for a statement of a document, which stands in the document's text.
    Column("text", Text),
    Column("label", String(40)),
    Column("reason", String(40)),
    Column("outcome", String(40)),
    *(Column(f"score_{outcome}", Double) for outcome in OUTCOMES),
    Column("confidence", Double),
    Column("prediction_set", JSON(none_as_null=True)),
    Column("language", String(10)),
    Column("start_char", Integer, nullable=False),
    Column("end_char", Integer, nullable=False),
    Column("is_cut", Boolean, nullable=False),
    Column("read_end_char", Integer, nullable=False),
    _reference("model_seq", "models.seq"),
    # All that aggregates read: they never touch the table itself.
    Index(
        "ix_scores_aggregates", "scored_at", "label", "language", "source", "model_seq", "reason", "confidence", "seq"
    ),
    Index(None, "request_id"),
    Index("ix_scores_source_seq", "source", "seq"),
    Index("ix_scores_author_seq", "author", "seq"),
    Index("ix_scores_document_id_seq", "document_id", "seq"),
    Index(None, "document_seq"),
    Index(None, "batch_seq"),
    sqlite_autoincrement=True,
)

feedback: Final = Table(
    "feedback",
    metadata,
    _sequence(),
    Column("id", Uuid, nullable=False, unique=True),
    _reference("score_seq", "scores.seq", ondelete="CASCADE"),
    Column("created_at", UtcTime, nullable=False),
    Column("proposed_label", String(40), nullable=False),
    # Whether it is another than the outcome that was scored.
    Column("is_dispute", Boolean, nullable=False),
    Column("reason", Text),
    Column("reviewer", String(MAX_TAG_CHARS)),
    Index(None, "score_seq"),
    sqlite_autoincrement=True,
)

# A retried request finds what was stored under its key the first time.
idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(MAX_TAG_CHARS), primary_key=True),
    Column("request_id", Uuid, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index(None, "created_at"),
)

# What happened, in the order in which it became visible: for server-sent events and webhooks. No texts.
events: Final = Table(
    "events",
    metadata,
    _sequence(),
    Column("created_at", UtcTime, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("payload", JSON, nullable=False),
    Index(None, "created_at"),
    sqlite_autoincrement=True,
)

webhooks: Final = Table(
    "webhooks",
    metadata,
    _sequence(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", String(100), nullable=False),
    Column("kinds", JSON, nullable=False),
    # Of the kind share.above: label, share, window_minutes, min_statements, and source or null.
    Column("threshold", JSON(none_as_null=True)),
    # A threshold is announced when it is crossed, and again only after it has been left.
    Column("is_above", Boolean, nullable=False),
    # The newest event when it was registered: it is told of later ones only.
    Column("after_event_seq", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    _sequence(),
    Column("id", Uuid, nullable=False, unique=True),
    _reference("webhook_seq", "webhooks.seq", ondelete="CASCADE"),
    Column("created_at", UtcTime, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("n_attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcTime),
    Column("last_fault", String(200)),
    Index("ix_webhook_deliveries_due", "state", "next_attempt_at"),
    Index(None, "webhook_seq"),
    sqlite_autoincrement=True,
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    _sequence(),
    # Stands in the key as its owner has it, and may be shown.
    Column("prefix", String(16), nullable=False, unique=True),
    # SHA-256 of the secret, in hexadecimal.
    Column("digest", String(64), nullable=False),
    Column("name", String(MAX_TAG_CHARS), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
    sqlite_autoincrement=True,
)
