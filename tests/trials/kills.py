"""Kills a real server at random moments while clients score and batches run, and counts what was lost or doubled.

    python -m tests.trials.kills --kills 100

Every client sends the same request under the same Idempotency-Key until it is acknowledged. In the end each score,
document and row of a batch that was acknowledged must be there, once. The moments come from a seed; what the server
was doing in them does not. The result is a Markdown table.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from service.store.database import open_database
from tests.service.own_postgresql import OwnServer, open_own_server
from tests.trials.kill_clients import BatchClient, Client, ScoringClient
from tests.trials.kill_counts import Counts, count_kept, count_results
from tests.trials.serving_process import ServingProcess

KINDS: Final = ("sqlite", "postgresql")
# In so many rounds of ten the server is killed while it starts.
_EARLY_OF_TEN: Final = 2
_START_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    n_kills: int
    n_database_kills: int
    n_clients: int
    n_batch_rows: int
    max_seconds: float
    seed: int
    is_real: bool
    seconds_per_statement: float


def run_trial(kind: str, options: Options) -> Counts:
    """Kill a server on one kind of database, and return what was counted in the end."""
    draw = random.Random(f"{kind} {options.seed}")
    with _open_folder(kind) as (state, url, postgresql):
        server = ServingProcess(
            state, url, is_real=options.is_real, seconds_per_statement=options.seconds_per_statement
        )
        scorers = [ScoringClient(f"client-{n}", server.url, seed=options.seed) for n in range(options.n_clients)]
        batcher = BatchClient("batches", server.url, seed=options.seed, n_rows=options.n_batch_rows)
        started = time.monotonic()
        server.start()
        server.wait_until_ready()
        clients: list[Client] = [*scorers, batcher]
        for client in clients:
            client.start()
        database_rounds = set(draw.sample(range(options.n_kills), min(options.n_database_kills, options.n_kills)))
        for number in range(options.n_kills):
            _wait_for_moment(server, draw, options.max_seconds)
            if postgresql is not None and number in database_rounds:
                postgresql.stop("immediate")
                postgresql.start()
                _wait_for_moment(server, draw, options.max_seconds)
            server.kill()
            server.start()
            _say(f"\r{kind}: {number + 1} of {options.n_kills} kills")
        _say(" \n")
        server.wait_until_ready()
        _end(clients)
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as http:
            counts = count_results(http, batcher)
        server.stop()
        counts.n_kills = options.n_kills
        counts.n_database_kills = len(database_rounds) if postgresql is not None else 0
        counts.seconds = time.monotonic() - started
        with closing(open_database(url)) as database:
            count_kept(database, scorers, batcher, counts)
        return counts


def _wait_for_moment(server: ServingProcess, draw: random.Random, max_seconds: float) -> None:
    if draw.randrange(10) < _EARLY_OF_TEN:
        time.sleep(draw.uniform(0, _START_SECONDS))
    else:
        server.wait_until_ready()
        time.sleep(draw.uniform(0, max_seconds))


def _end(clients: Sequence[Client]) -> None:
    for client in clients:
        client.end()
    for client in clients:
        client.join()
    for client in clients:
        if isinstance(client, BatchClient):
            client.wait_until_done()


@contextmanager
def _open_folder(kind: str) -> Iterator[tuple[Path, str, OwnServer | None]]:
    with tempfile.TemporaryDirectory(prefix="credence-kills-") as folder:
        state = Path(folder) / "state"
        state.mkdir()
        if kind == "sqlite":
            yield state, f"sqlite:///{state / 'credence.db'}", None
            return
        with open_own_server() as postgresql:
            yield state, postgresql.url, postgresql


def _say(message: str) -> None:
    sys.stderr.write(message)
    sys.stderr.flush()


def to_table(found: dict[str, Counts]) -> str:
    """Return the counts as a Markdown table."""
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---:|' * len(found)}"]
    rows = [counts.to_rows() for counts in found.values()]
    for name in rows[0]:
        lines.append(f"| {name} | {' | '.join(row[name] for row in rows)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the trial and print its table. The exit code is 1 where anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how often the server is killed, on each database")
    parser.add_argument("--database-kills", type=int, default=0, help="in how many of them PostgreSQL is killed, too")
    parser.add_argument("--only", choices=KINDS, help="one kind of database")
    parser.add_argument("--clients", type=int, default=4, help="how many clients have statements scored")
    parser.add_argument("--batch-rows", type=int, default=2000, help="how many rows a batch has")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a server that is ready lives at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="serve the shipped model instead of a tiny one")
    parser.add_argument("--slowness", type=float, default=0.001, help="seconds a statement takes the tiny model")
    given = parser.parse_args()
    options = Options(
        n_kills=given.kills,
        n_database_kills=given.database_kills,
        n_clients=given.clients,
        n_batch_rows=given.batch_rows,
        max_seconds=given.seconds,
        seed=given.seed,
        is_real=given.real,
        seconds_per_statement=given.slowness,
    )
    found = {kind: run_trial(kind, options) for kind in KINDS if given.only in (None, kind)}
    print(to_table(found))
    sys.exit(any(counts.is_bad for counts in found.values()))


if __name__ == "__main__":
    main()
