"""Scores, documents and the models that made them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    state = op.create_table(
        "store_state",
        sa.Column("key", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_store_state"),
    )
    op.bulk_insert(state, [{"key": 1, "revision": 0}])
    op.create_table(
        "models",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("model_version", sa.String(100), nullable=False),
        sa.Column("bundle_digest", sa.String(64), nullable=False),
        sa.Column("calibration_id", sa.String(64), nullable=False),
        sa.Column("codebook_version", sa.Integer, nullable=False),
        sa.Column("mlflow_run_id", sa.String(64), nullable=False),
        sa.Column("data_digests", sa.JSON, nullable=False),
        sa.UniqueConstraint("bundle_digest", name="uq_models_bundle_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("request_id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    _create_documents()
    _create_scores()


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("scored_at", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Uuid, nullable=False),
        sa.Column("caller_id", sa.Text),
        sa.Column("source", sa.String(200)),
        sa.Column("author", sa.String(200)),
        sa.Column("document_id", sa.String(200)),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("is_cut", sa.Boolean, nullable=False),
        sa.Column("n_statements", sa.Integer, nullable=False),
        sa.Column("model_seq", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("id", name="uq_documents_id"),
        sa.ForeignKeyConstraint(["model_seq"], ["models.seq"], name="fk_documents_model_seq"),
        sqlite_autoincrement=True,
    )
    for column in ("scored_at", "request_id", "source", "document_id"):
        op.create_index(f"ix_documents_{column}", "documents", [column])


def _create_scores() -> None:
    outcomes = ("factual_report", "allegation", "likely_disinformation_narrative", "not_a_claim")
    op.create_table(
        "scores",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("scored_at", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Uuid, nullable=False),
        sa.Column("caller_id", sa.Text),
        sa.Column("source", sa.String(200)),
        sa.Column("author", sa.String(200)),
        sa.Column("document_id", sa.String(200)),
        sa.Column("document_seq", sa.BigInteger),
        sa.Column("text", sa.Text),
        sa.Column("label", sa.String(40)),
        sa.Column("reason", sa.String(40)),
        sa.Column("outcome", sa.String(40)),
        *(sa.Column(f"score_{outcome}", sa.Double) for outcome in outcomes),
        sa.Column("confidence", sa.Double),
        sa.Column("prediction_set", sa.JSON),
        sa.Column("language", sa.String(10)),
        sa.Column("start_char", sa.Integer, nullable=False),
        sa.Column("end_char", sa.Integer, nullable=False),
        sa.Column("is_cut", sa.Boolean, nullable=False),
        sa.Column("read_end_char", sa.Integer, nullable=False),
        sa.Column("model_seq", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("id", name="uq_scores_id"),
        sa.ForeignKeyConstraint(["document_seq"], ["documents.seq"], name="fk_scores_document_seq", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["model_seq"], ["models.seq"], name="fk_scores_model_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_scores_aggregates",
        "scores",
        ["scored_at", "label", "language", "source", "model_seq", "reason", "confidence", "seq"],
    )
    for column in ("source", "author", "document_id"):
        op.create_index(f"ix_scores_{column}_seq", "scores", [column, "seq"])
    for column in ("request_id", "document_seq"):
        op.create_index(f"ix_scores_{column}", "scores", [column])
