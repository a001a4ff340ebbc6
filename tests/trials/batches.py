"""A large batch by one server, and one that two worker processes share: how fast, how much memory, and is it whole.

    python -m tests.trials.batches --rows 100000 --shared-rows 20000

The first runs on SQLite with the shipped model, beside the rate of the bare scorer on the same rows. The second lies in
a PostgreSQL of its own, and is scored by two processes of ``credence worker`` while the server itself scores none. In
both, results must have each row once and in order, and the database each score once. The statements are the
project's own, each with a number of its own. Prints Markdown tables.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import func, select

from credence import load_scorer
from service.store.database import open_database
from service.store.tables import scores
from tests.service.own_postgresql import open_own_server
from tests.trials.serving_process import ServingProcess

STATEMENTS: Final = Path(__file__).parents[2] / "datasets" / "statements"
POLL_SECONDS: Final = 2.0
N_WORKERS: Final = 2
_BARE_ROWS: Final = 2_000
_CHUNK_ROWS: Final = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch took, and what is wrong with it: all the counts of faults should be 0."""

    n_rows: int
    seconds: float
    n_out_of_order: int
    n_error_rows: int
    n_kept: int
    n_kept_lines: int


def read_texts(n_rows: int) -> list[str]:
    """Return so many different statements, made of the project's own."""
    rows = [json.loads(line) for path in sorted(STATEMENTS.glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    return [f"{row['text']} ({number})" for number, row in enumerate(islice(cycle(rows), n_rows))]


def measure_bare_scorer(texts: list[str]) -> float:
    """Return how many statements a second the scorer scores without a service, in portions as large as a chunk."""
    scorer = load_scorer()
    scorer.score_statements(texts[:_CHUNK_ROWS])
    started = time.perf_counter()
    for start in range(0, len(texts), _CHUNK_ROWS):
        scorer.score_statements(texts[start : start + _CHUNK_ROWS])
    return len(texts) / (time.perf_counter() - started)


def run_batch(url: str, path: Path, n_rows: int, database_url: str) -> Outcome:
    """Send a file, follow it to its end, and look at what came of it."""
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        started = time.monotonic()
        with path.open("rb") as file:
            answer = client.post("/v1/batches", content=file, headers={"Content-Type": "text/csv"}).raise_for_status()
        address = answer.headers["Location"]
        batch = _follow(client, address, started)
        seconds = time.monotonic() - started
        with client.stream("GET", f"{address}/results?format=ndjson") as lines:
            ids = [json.loads(line)["id"] for line in lines.iter_lines() if line]
    with closing(open_database(database_url)) as database, database.reading() as connection:
        kept = connection.execute(select(func.count(), func.count(scores.c.batch_line.distinct()))).one()
    out_of_order = sum(found != str(number) for number, found in enumerate(ids)) + abs(n_rows - len(ids))
    return Outcome(n_rows, seconds, out_of_order, batch["n_error_rows"], kept[0], kept[1])


def _follow(client: httpx.Client, address: str, started: float) -> dict[str, Any]:
    next_share = 0.0
    while True:
        batch: dict[str, Any] = client.get(address).raise_for_status().json()
        if batch["share_done"] >= next_share or batch["state"] not in {"queued", "running"}:
            left = batch["seconds_left"]
            print(
                f"{time.monotonic() - started:6.0f} s  {batch['state']:8} {batch['share_done']:6.1%}  "
                f"{batch['n_done_rows']:7} rows  {batch['rows_per_second'] or 0:6.0f} rows/s  "
                f"{'-' if left is None else round(left):>5} s left",
                file=sys.stderr,
            )
            next_share = batch["share_done"] + 0.1
        if batch["state"] not in {"queued", "running"}:
            return batch
        time.sleep(POLL_SECONDS)


@contextmanager
def _serving(folder: Path, database_url: str, **settings: str) -> Iterator[ServingProcess]:
    os.environ.update(settings)
    server = ServingProcess(folder / "state", database_url, is_real=True)
    server.start()
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
        for name in settings:
            del os.environ[name]


def run_alone(folder: Path, path: Path, n_rows: int) -> tuple[Outcome, int, int]:
    """Run a batch on SQLite, and return what came of it and the memory of the server before and at its greatest."""
    url = f"sqlite:///{folder / 'state' / 'credence.db'}"
    with _serving(folder, url) as server:
        server.forget_peak()
        before = server.read_peak_bytes()
        outcome = run_batch(server.url, path, n_rows, url)
        return outcome, before, server.read_peak_bytes()


def run_shared(folder: Path, path: Path, n_rows: int) -> tuple[Outcome, list[float]]:
    """Run a batch on PostgreSQL by two workers, and return what came of it and the processor time of each."""
    program = [str(Path(sys.executable).with_name("credence")), "worker"]
    with open_own_server() as postgresql, _serving(folder, postgresql.url, CREDENCE_BATCH_WORKERS="0") as server:
        environments = [
            os.environ | {"CREDENCE_DATABASE_URL": postgresql.url, "CREDENCE_STATE_PATH": str(folder / f"worker-{n}")}
            for n in range(N_WORKERS)
        ]
        workers = [
            subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for environment in environments
        ]
        try:
            outcome = run_batch(server.url, path, n_rows, postgresql.url)
            return outcome, [_processor_seconds(worker.pid) for worker in workers]
        finally:
            for worker in workers:
                worker.terminate()
                worker.wait()


def _processor_seconds(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def write_rows(path: Path, texts: list[str]) -> None:
    """Write statements as CSV, with their numbers as ids."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(texts))


def main(arguments: list[str] | None = None) -> int:
    """Run both batches; see the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials.batches", description="Time large batches.")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the batch that one server scores")
    parser.add_argument("--shared-rows", type=int, default=20_000, help="rows of the batch that two workers share")
    options = parser.parse_args(arguments)
    header = "| batch | rows | seconds | rows/s | rows out of order | error rows | scores kept | different lines kept |"
    with tempfile.TemporaryDirectory(prefix="credence-batches-") as name:
        folder = Path(name)
        path = folder / "rows.csv"
        bare = measure_bare_scorer(read_texts(_BARE_ROWS))
        print(f"The bare scorer scores {bare:.0f} statements a second.\n\n{header}\n|---|---|---|---|---|---|---|---|")
        write_rows(path, read_texts(options.rows))
        alone, before, peak = run_alone(folder, path, options.rows)
        _print_row("one server, SQLite", alone)
        write_rows(path, read_texts(options.shared_rows))
        shared, processor_seconds = run_shared(folder, path, options.shared_rows)
        _print_row(f"{N_WORKERS} workers, PostgreSQL", shared)
    print(f"\nMemory of the server: {before / 2**20:.0f} MiB before, {peak / 2**20:.0f} MiB at its greatest.")
    print(f"Processor time of the workers: {' and '.join(f'{seconds:.0f} s' for seconds in processor_seconds)}.")
    is_whole = all(o.n_rows == o.n_kept == o.n_kept_lines and not o.n_out_of_order for o in (alone, shared))
    return 0 if is_whole else 1


def _print_row(name: str, outcome: Outcome) -> None:
    rate = outcome.n_rows / outcome.seconds
    figures = [outcome.n_rows, round(outcome.seconds), round(rate), outcome.n_out_of_order, outcome.n_error_rows]
    print(f"| {name} | {' | '.join(str(figure) for figure in [*figures, outcome.n_kept, outcome.n_kept_lines])} |")


if __name__ == "__main__":
    raise SystemExit(main())
