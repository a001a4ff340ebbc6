"""Fills both databases with a year of scores, and times what dashboards ask of a real server.

    python -m tests.trials.million --rows 1000000 --plans plans.md

The server scores with a tiny model, and every query goes to it over HTTP. The results are Markdown: a table of times, a
table of the export, and the plans of the queries as each database explains them. The figures hold for the machine and
its other load.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from service.store.database import open_database
from tests.service.own_postgresql import open_own_server
from tests.trials.dashboard_queries import Query, build_queries
from tests.trials.filling import fill
from tests.trials.query_plans import explain_queries
from tests.trials.serving_process import ServingProcess

KINDS: Final = ("sqlite", "postgresql")
_TIMEOUT_SECONDS: Final = 600.0
_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a query took, in milliseconds, and how many rows came back."""

    first: float
    median: float
    worst: float
    n_rows: int


@dataclass(frozen=True, slots=True)
class Export:
    """How the export of everything went. Memory is that of the server: before, and at its greatest."""

    seconds: float
    n_bytes: int
    idle_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found on one kind of database."""

    fill_seconds: float
    timings: dict[str, Timing]
    exports: dict[str, Export]
    plans: str


def measure(kind: str, url: str | None, given: argparse.Namespace) -> Figures:
    """Fill a database, serve it, and ask it everything."""
    with _open_folder(kind, url) as (state, database_url):
        with closing(open_database(database_url)) as database:
            started = time.perf_counter()
            if database.read_revision() == 0:
                _say(f"{kind}: filling with {given.rows:,} scores ...\n")
                fill(database, given.rows, seed=given.seed)
            fill_seconds = time.perf_counter() - started
            queries = build_queries(given.rows)
            plans = explain_queries(database, queries)
        server = ServingProcess(state, database_url)
        server.start()
        try:
            server.wait_until_ready()
            with httpx.Client(base_url=server.url, timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
                timings = {query.name: _time_query(kind, http, query, given.repeats) for query in queries}
                exports = {name: _export(kind, server, http, name) for name in ("parquet", "csv", "ndjson")}
        finally:
            server.stop()
        return Figures(fill_seconds, timings, exports, plans)


def _time_query(kind: str, http: httpx.Client, query: Query, repeats: int) -> Timing:
    _say(f"{kind}: {query.name}\n")
    milliseconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        answer = http.get(query.path, params=query.parameters).raise_for_status()
        milliseconds.append((time.perf_counter() - started) * 1000)
    first, *rest = milliseconds
    return Timing(first, statistics.median(rest), max(rest), len(answer.json()["rows"]))


def _export(kind: str, server: ServingProcess, http: httpx.Client, file_format: str) -> Export:
    _say(f"{kind}: export as {file_format}\n")
    server.forget_peak()
    idle_bytes = server.read_peak_bytes()
    started = time.perf_counter()
    n_bytes = 0
    with http.stream("GET", "/v1/scores", params={"format": file_format}) as answer:
        answer.raise_for_status()
        for block in answer.iter_bytes(_BLOCK_BYTES):
            n_bytes += len(block)
    return Export(time.perf_counter() - started, n_bytes, idle_bytes, server.read_peak_bytes())


@contextmanager
def _open_folder(kind: str, url: str | None) -> Iterator[tuple[Path, str]]:
    with tempfile.TemporaryDirectory(prefix="credence-million-") as folder:
        state = Path(folder) / "state"
        state.mkdir()
        if url is not None:
            yield state, url
        elif kind == "sqlite":
            yield state, f"sqlite:///{state / 'credence.db'}"
        else:
            with open_own_server() as server:
                yield state, server.url


def to_table(found: dict[str, Figures]) -> str:
    """Return the times as a Markdown table: median and worst of the later ones, and the first, in milliseconds."""
    heads = [f"{kind} {what}" for kind in found for what in ("median", "worst", "first")]
    lines = [f"| query | rows | {' | '.join(heads)} |", f"|---|---:|{'---:|' * len(heads)}"]
    for name in next(iter(found.values())).timings:
        timings = [figures.timings[name] for figures in found.values()]
        cells = [f"{value:,.0f}" for t in timings for value in (t.median, t.worst, t.first)]
        lines.append(f"| {name} | {timings[0].n_rows:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def to_export_table(found: dict[str, Figures]) -> str:
    """Return the exports as a Markdown table; memory is that of the serving process."""
    lines = [
        "| export of all | seconds | MiB sent | MiB of memory before | at its greatest |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, figures in found.items():
        for name, export in figures.exports.items():
            sizes = (export.n_bytes, export.idle_bytes, export.peak_bytes)
            cells = [f"{export.seconds:.1f}", *(f"{size / 1024**2:,.0f}" for size in sizes)]
            lines.append(f"| {kind}, {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _say(message: str) -> None:
    sys.stderr.write(message)


def main() -> None:
    """Run the trial and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many scores")
    parser.add_argument("--repeats", type=int, default=5, help="how often each query is timed, after the first time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS, help="one kind of database")
    parser.add_argument("--sqlite", metavar="URL", help="an SQLite database that stays; it is filled if it is new")
    parser.add_argument("--postgresql", metavar="URL", help="the same, instead of a server of its own")
    parser.add_argument("--plans", type=Path, help="where the plans of the queries go")
    given = parser.parse_args()
    found = {kind: measure(kind, getattr(given, kind), given) for kind in KINDS if given.only in (None, kind)}
    for kind, figures in found.items():
        print(f"{kind}: {given.rows:,} scores, filled in {figures.fill_seconds:.0f} s\n")
    print(f"{to_table(found)}\n\n{to_export_table(found)}")
    if given.plans is not None:
        parts = [f"# {kind}\n\n{figures.plans}" for kind, figures in found.items()]
        given.plans.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
