"""How a database goes about what it is asked: its own plans of the statements behind a request."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import event

from service.app import create_app
from service.settings import Settings
from service.store.database import Database
from tests.trials.dashboard_queries import Query
from tests.trials.tiny_credence import load_tiny_model

_EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN (COSTS OFF) "}


def explain_queries(database: Database, queries: Sequence[Query]) -> str:
    """Return the plans of the statements that each request makes, as Markdown."""
    parts = []
    with tempfile.TemporaryDirectory() as folder, _heard_statements(database) as heard:
        settings = Settings(state_path=Path(folder), open_rate_limit="none")
        app = create_app(settings, load_tiny_model(None), database)
        with TestClient(app, base_url="http://localhost") as client:
            for query in queries:
                heard.clear()
                client.get(query.path, params=query.parameters).raise_for_status()
                plans = [_explain(database, statement, parameters) for statement, parameters in list(heard)]
                parts.append(f"## {query.name}\n\n```\n" + "\n\n".join(filter(None, plans)) + "\n```")
    return "\n\n".join(parts)


@contextmanager
def _heard_statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    heard: list[tuple[str, Any]] = []

    def hear(connection: object, cursor: object, statement: str, parameters: Any, *rest: object) -> None:
        if "scores" in statement and statement.lstrip().upper().startswith(("SELECT", "WITH")):
            heard.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(database.engine, "before_cursor_execute", hear)


def _explain(database: Database, statement: str, parameters: Any) -> str:
    with database.reading() as connection:
        rows = connection.exec_driver_sql(_EXPLAIN[database.kind] + statement, parameters).all()
    if database.kind == "postgresql":
        return "\n".join(row[0] for row in rows)
    depths = {0: 0}
    lines = []
    for node, parent, _, detail in rows:
        depths[node] = depths[parent] + 1
        lines.append("  " * (depths[node] - 1) + detail)
    return "\n".join(lines)
