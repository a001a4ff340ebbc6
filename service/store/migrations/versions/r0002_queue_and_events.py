"""Batches and their queue, feedback, events and webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables, and say of each score which batch it came from."""
    _create_batches()
    _create_feedback_and_events()
    _create_webhooks()
    op.add_column("store_state", sa.Column("announced_event_seq", sa.BigInteger, nullable=False, server_default="0"))
    # SQLite takes a reference with the column, which Alembic would add afterwards.
    op.execute(
        "ALTER TABLE scores ADD COLUMN batch_seq BIGINT "
        "CONSTRAINT fk_scores_batch_seq REFERENCES batches (seq) ON DELETE SET NULL"
    )
    op.add_column("scores", sa.Column("batch_line", sa.BigInteger))
    op.create_index("ix_scores_batch_seq", "scores", ["batch_seq"])


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("idempotency_key", sa.String(200)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("is_split", sa.Boolean, nullable=False),
        sa.Column("format", sa.String(20), nullable=False),
        sa.Column("encoding", sa.String(40), nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("n_read_bytes", sa.BigInteger, nullable=False),
        sa.Column("is_stored", sa.Boolean, nullable=False),
        sa.Column("source", sa.String(200)),
        sa.Column("author", sa.String(200)),
        sa.Column("spool_id", sa.Uuid, nullable=False),
        sa.Column("n_rows", sa.BigInteger, nullable=False),
        sa.Column("n_chunks", sa.Integer, nullable=False),
        sa.Column("n_done_rows", sa.BigInteger, nullable=False),
        sa.Column("n_done_chunks", sa.Integer, nullable=False),
        sa.Column("n_error_rows", sa.BigInteger, nullable=False),
        sa.Column("failure", sa.String(500)),
        sa.Column("split_claim_id", sa.Uuid),
        sa.Column("split_lease_until", sa.BigInteger),
        sa.UniqueConstraint("id", name="uq_batches_id"),
        sa.UniqueConstraint("idempotency_key", name="uq_batches_idempotency_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batches_state", "batches", ["state"])
    op.create_index("ix_batches_created_at", "batches", ["created_at"])
    op.create_table(
        "batch_chunks",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("batch_seq", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("claim_id", sa.Uuid),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("n_failures", sa.Integer, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("rows", sa.LargeBinary),
        sa.Column("results", sa.LargeBinary),
        sa.ForeignKeyConstraint(["batch_seq"], ["batches.seq"], name="fk_batch_chunks_batch_seq", ondelete="CASCADE"),
        sa.UniqueConstraint("batch_seq", "number", name="uq_batch_chunks_batch_seq_number"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batch_chunks_claim", "batch_chunks", ["state", "batch_seq", "number"])


def _create_feedback_and_events() -> None:
    op.create_table(
        "feedback",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("score_seq", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("proposed_label", sa.String(40), nullable=False),
        sa.Column("is_dispute", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("reviewer", sa.String(200)),
        sa.ForeignKeyConstraint(["score_seq"], ["scores.seq"], name="fk_feedback_score_seq", ondelete="CASCADE"),
        sa.UniqueConstraint("id", name="uq_feedback_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_score_seq", "feedback", ["score_seq"])
    op.create_table(
        "events",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_created_at", "events", ["created_at"])


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.String(100), nullable=False),
        sa.Column("kinds", sa.JSON, nullable=False),
        sa.Column("threshold", sa.JSON),
        sa.Column("is_above", sa.Boolean, nullable=False),
        sa.Column("after_event_seq", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("id", name="uq_webhooks_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("webhook_seq", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("n_attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger),
        sa.Column("last_fault", sa.String(200)),
        sa.ForeignKeyConstraint(
            ["webhook_seq"], ["webhooks.seq"], name="fk_webhook_deliveries_webhook_seq", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("id", name="uq_webhook_deliveries_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_deliveries_due", "webhook_deliveries", ["state", "next_attempt_at"])
    op.create_index("ix_webhook_deliveries_webhook_seq", "webhook_deliveries", ["webhook_seq"])
