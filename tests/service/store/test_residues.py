from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from service.store.database import Database
from service.store.residues import is_due, read_note
from service.store.score_store import ScoreStore
from tests.service.store.conftest import NewScores
from tests.service.tiny_scorer import TinyScorer

INFO = TinyScorer().info
TEXT = "The court met on Monday."


@pytest.fixture
def keep(database: Database, new_scores: NewScores) -> Callable[[int], None]:
    def keep(n_scores: int) -> None:
        ScoreStore(database).keep_statements(new_scores(*[TEXT] * n_scores, source="wire"), INFO, uuid4())

    return keep


def file_of(database: Database) -> Path:
    return Path(str(database.engine.url.database))


def note_of(database: Database) -> int:
    with database.reading() as connection:
        return read_note(connection)


def test_what_was_deleted_is_shed_even_if_not_while_somebody_reads(
    database: Database, keep: Callable[[int], None]
) -> None:
    log = file_of(database).with_suffix(".db-wal")
    keep(1)
    with database.reading() as connection:
        connection.execute(text("SELECT count(*) FROM scores")).scalar()
        keep(1)
        database.shed_deleted()
        assert log.stat().st_size > 0
    database.shed_deleted()
    assert log.stat().st_size == 0


def test_a_file_is_written_anew_once_after_a_deletion(database: Database, keep: Callable[[int], None]) -> None:
    keep(1000)
    database.shed_deleted()
    size = file_of(database).stat().st_size
    ScoreStore(database).delete_matching(source="wire")
    database.shed_deleted()
    assert note_of(database) > 0
    database.tidy_deleted()
    assert (file_of(database).stat().st_size < size / 2, note_of(database)) == (True, 0)
    keep(1)
    ScoreStore(database).delete_matching(source="wire")
    size = file_of(database).stat().st_size
    database.tidy_deleted()
    assert (file_of(database).stat().st_size, note_of(database)) == (size, 0)


def test_what_is_deleted_meanwhile_is_not_forgotten(
    database: Database, keep: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(1)
    database.shed_deleted()
    monkeypatch.setattr("service.store.database.write_anew", lambda connection: database.shed_deleted())
    database.tidy_deleted()
    assert note_of(database) > 0


def test_that_something_was_deleted_is_known_after_a_restart(database: Database, database_url: str) -> None:
    database.shed_deleted()
    database.close()
    with closing(Database(database_url)) as again:
        assert note_of(again) > 0


@pytest.mark.parametrize(
    ("mebibytes", "hours", "expected"),
    [(0, 0, True), (16, 0, True), (17, 0, False), (17, 1, True), (512, 11, False), (512, 12, True), (4096, 97, True)],
)
def test_a_file_is_written_anew_the_more_seldom_the_larger_it_is(mebibytes: int, hours: float, expected: bool) -> None:
    assert is_due(mebibytes * 1024**2, hours * 3600) is expected


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_postgresql_sees_to_it_itself(database: Database, keep: Callable[[int], None]) -> None:
    keep(1)
    database.shed_deleted()
    database.tidy_deleted()
    assert database.read_revision() == 1
