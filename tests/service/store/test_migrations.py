import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ForeignKeyConstraint, inspect, text

from credence import labels
from service.store.database import Database, StorageError
from service.store.records import ScoreFilter
from service.store.score_store import ScoreStore
from service.store.tables import from_microseconds, metadata
from tests.service.conftest import run_alone
from tests.service.store.conftest import NewScores
from tests.service.tiny_scorer import TinyScorer

pytestmark = pytest.mark.on_both_databases
FIRST = "0001"
INFO = TinyScorer().info
N_SCORES = 500
DOCUMENT = "😀 Суд відбувся в понеділок. Він заявив, що йшов дощ."
MODEL_COLUMNS = ("model_version", "bundle_digest", "calibration_id", "codebook_version", "mlflow_run_id")
OUTCOMES = tuple(str(outcome) for outcome in labels.OUTCOMES)
ON_DELETE = {"NO ACTION": None, "CASCADE": "CASCADE", "SET NULL": "SET NULL"}


@pytest.fixture
def old(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of the first schema, with data in it that plain SQL has put there."""
    if database_kind == "sqlite":
        with closing(Database(f"sqlite:///{tmp_path / 'old.db'}")) as database:
            fill_first_schema(database)
            yield database
        return
    admin: Database = request.getfixturevalue("postgresql_server")
    name = f"test_{uuid4().hex}"
    run_alone(admin, f"CREATE DATABASE {name}")
    with closing(Database(admin.engine.url.set(database=name).render_as_string(hide_password=False))) as database:
        fill_first_schema(database)
        yield database
    run_alone(admin, f"DROP DATABASE {name} WITH (FORCE)")


def fill_first_schema(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(resources.files("service.store") / "migrations"))
    config.set_main_option("path_separator", "os")
    with database.writing(takes_turn=False) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST)
        for table, rows in first_rows().items():
            names = list(rows[0])
            values = ", ".join(f":{name}" for name in names)
            connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"), rows)
        connection.execute(text("UPDATE store_state SET revision = 42"))


def identifier(number: int) -> str:
    return UUID(int=number).hex


def first_rows() -> dict[str, list[dict[str, Any]]]:
    model = {name: getattr(INFO, name) for name in MODEL_COLUMNS} | {"data_digests": json.dumps(INFO.data_digests)}
    document = {
        "id": identifier(1), "scored_at": 1_700_000_000_000_001, "request_id": identifier(2), "caller_id": "article",
        "source": "wire", "author": None, "document_id": "d-1", "text": DOCUMENT, "is_cut": False, "n_statements": 2,
        "model_seq": 1,
    }  # fmt: skip
    return {
        "models": [model],
        "documents": [document],
        "idempotency_keys": [{"key": "k", "request_id": identifier(2), "created_at": 1_700_000_000_000_001}],
        "scores": [first_score(number) for number in range(N_SCORES)],
    }


def first_score(number: int) -> dict[str, Any]:
    """Return a statement of the document (the first two), or one with its own text; every seventh is unscored."""
    is_of_document, is_scored = number < 2, number % 7 != 0
    label = OUTCOMES[number % 3] if is_scored else None
    return {
        "id": identifier(1000 + number), "scored_at": 1_700_000_000_000_000 + number,
        "request_id": identifier(2 if is_of_document else 3 + number // 50),
        "caller_id": f"row {number}", "source": f"source {number % 5}", "author": None, "document_id": "d-1",
        "document_seq": 1 if is_of_document else None,
        "text": None if is_of_document else f"Statement {number} з '\"; DROP TABLE scores; -- 😀\n",
        "label": label, "outcome": label, "reason": None if is_scored else "too_short",
        **{f"score_{o}": (0.7 if o == label else 0.1) if is_scored else None for o in OUTCOMES},
        "confidence": 0.7 if is_scored else None, "prediction_set": json.dumps([label]) if is_scored else None,
        "language": "uk", "start_char": 2 if is_of_document else 0, "end_char": 26, "is_cut": False,
        "read_end_char": 26, "model_seq": 1,
    }  # fmt: skip


def rows_of(database: Database, table: str, names: list[str]) -> list[dict[str, Any]]:
    with database.reading() as connection:
        found = connection.execute(text(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1")).mappings()
        return [{name: plain(value) for name, value in row.items()} for row in found]


def plain(value: Any) -> Any:
    """Return what either database gives for the same value as one and the same."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value.hex if isinstance(value, UUID) else value


def test_no_value_of_the_first_schema_is_lost(old: Database) -> None:
    old.migrate()
    for table, rows in first_rows().items():
        assert rows_of(old, table, list(rows[0])) == rows
    assert old.read_revision() == 42


def test_what_the_first_schema_kept_is_read_by_this_version(old: Database) -> None:
    old.migrate()
    store = ScoreStore(old)
    stored = store.list_scores(ScoreFilter(), limit=N_SCORES + 1)
    assert [s.id.int - 1000 for s in stored] == list(range(N_SCORES))[::-1]
    assert {(s.n_disputes, s.batch_id, s.batch_line) for s in stored} == {(0, None, None)}
    newest = stored[0]
    assert newest.scored_at == datetime(2023, 11, 14, 22, 13, 20, 499, tzinfo=UTC)
    assert newest.text == first_score(N_SCORES - 1)["text"]
    assert newest.score.scores == dict.fromkeys(labels.OUTCOMES, 0.1) | {labels.OUTCOMES[1]: 0.7}
    document = store.read_document(UUID(int=1))
    assert document is not None
    assert (document.text, document.model, len(document.statements)) == (DOCUMENT, INFO, 2)
    assert document.statements[0].text == DOCUMENT[2:26]
    assert store.find_request("k") == UUID(int=2)


def test_numbers_go_on_where_the_first_schema_had_come_to(old: Database, new_scores: NewScores) -> None:
    old.migrate()
    store = ScoreStore(old)
    store.keep_statements(new_scores("The court met on Monday."), INFO, uuid4())
    newest, before = store.list_scores(ScoreFilter(), limit=2)
    assert newest.seq > before.seq == N_SCORES


def test_old_rows_can_be_deleted_after_a_migration(old: Database) -> None:
    old.migrate()
    store = ScoreStore(old)
    assert store.delete_document(UUID(int=1))
    assert store.delete_before(from_microseconds(1_800_000_000_000_000)) == N_SCORES - 2
    assert store.list_scores(ScoreFilter(), limit=1) == []


def test_a_migration_that_fails_leaves_the_old_schema_whole(old: Database) -> None:
    with old.writing(takes_turn=False) as connection:
        connection.execute(text("CREATE TABLE webhook_deliveries (in_the_way INTEGER)"))
    before = {name: shape(old, name) for name in table_names(old)}
    with pytest.raises(StorageError):
        old.migrate()
    assert {name: shape(old, name) for name in table_names(old)} == before
    for table, rows in first_rows().items():
        assert rows_of(old, table, list(rows[0])) == rows
    with old.writing(takes_turn=False) as connection:
        connection.execute(text("DROP TABLE webhook_deliveries"))
    old.migrate()
    assert table_names(old) >= set(metadata.tables)


def table_names(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def shape(database: Database, table: str) -> tuple[set[str], set[str | None]]:
    with database.reading() as connection:
        found = inspect(connection)
        columns = {column["name"] for column in found.get_columns(table)}
        return columns, {index["name"] for index in found.get_indexes(table)}


@pytest.mark.parametrize("is_new", [True, False])
def test_the_migrations_make_the_tables_that_the_code_names(is_new: bool, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue("database" if is_new else "old")
    database.migrate()
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = compare_metadata(context, metadata)
        # SQLite says neither the name nor the ON DELETE of a reference that came with its column; see below.
        assert [d for d in found if database.kind != "sqlite" or d[0] not in {"add_fk", "remove_fk"}] == []


def test_the_references_are_those_that_the_code_names(database: Database) -> None:
    named = {
        (table.name, key.column_keys[0], key.referred_table.name, key.elements[0].column.name, key.ondelete)
        for table in metadata.tables.values()
        for key in table.constraints
        if isinstance(key, ForeignKeyConstraint)
    }
    assert references(database) == named


def references(database: Database) -> set[tuple[Any, ...]]:
    with database.reading() as connection:
        if database.kind == "sqlite":
            # What SQLAlchemy finds lacks the ON DELETE of a reference that came with its column.
            listed = "SELECT m.name, f.* FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'"
            found = connection.execute(text(listed)).mappings().all()
            return {(k["name"], k["from"], k["table"], k["to"], ON_DELETE[k["on_delete"]]) for k in found}
        inspector = inspect(connection)
        return {
            (table, *key["constrained_columns"], key["referred_table"], *key["referred_columns"],
             key["options"].get("ondelete"))
            for table in inspector.get_table_names()
            for key in inspector.get_foreign_keys(table)
        }  # fmt: skip


def test_a_number_is_never_given_twice(database: Database, new_scores: NewScores) -> None:
    store = ScoreStore(database)
    seqs = []
    for _ in range(3):
        store.keep_statements(new_scores("The court met on Monday."), INFO, uuid4())
        newest = store.list_scores(ScoreFilter(), limit=1)[0]
        seqs.append(newest.seq)
        store.delete_score(newest.id)
    assert seqs == sorted(set(seqs))


def test_migrating_again_changes_nothing(old: Database) -> None:
    old.migrate()
    before = {name: shape(old, name) for name in table_names(old)}
    old.migrate()
    assert {name: shape(old, name) for name in table_names(old)} == before
