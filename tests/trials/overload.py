"""Asks a real server for more than it can give, and says in Markdown what came back.

    python -m tests.trials.overload --seconds 60

First the bare scorer and the idle service are measured, then clients ask for several times what was scored in a second,
each when its time has come and never before its last answer. Some of them share one address. Figures hold for the
machine and its other load; the clients run on it too.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import credence

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
PROBE_SECONDS = 0.25
N_BASELINE = 20
# So many clients in ten come from the same address.
SHARED_OF_TEN = 7
# It is as before when three requests in a row take no longer than this many times the usual.
USUAL_TIMES = 2.0


@dataclass
class Tally:
    """What came back: seconds of the answered, and how often each status came."""

    statuses: Counter[str] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    probes: list[float] = field(default_factory=list)


def read_texts() -> list[str]:
    """Return the project's own statements in all three languages, mixed."""
    files = (ROOT / "datasets" / "statements" / f"{language}.jsonl" for language in ("en", "uk", "ru"))
    texts = [json.loads(line)["text"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    random.Random(5).shuffle(texts)
    return texts


@contextmanager
def run_server() -> Iterator[str]:
    """Run the service on a port of its own, with a database of its own, and give its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CREDENCE_STATE_PATH": folder, "CREDENCE_LOG_LEVEL": "warning"}
        command = [str(Path(sys.executable).with_name("credence")), "serve", "--port", str(port)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
            try:
                wait_until_ready(server, f"http://127.0.0.1:{port}")
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()
                print(f"\nThe server ended with exit code {server.wait()}.")


def wait_until_ready(server: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        time.sleep(0.1)
    sys.exit("the server did not get ready")


def measure_scorer(texts: Sequence[str], seconds: float, list_size: int) -> float:
    """Return how many statements a second the scorer gives without a service."""
    scorer = credence.load_scorer()
    scorer.score_statements(texts[:list_size])
    started, n_scored = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        start = n_scored % (len(texts) - list_size)
        n_scored += len(scorer.score_statements(texts[start : start + list_size]))
    return n_scored / (time.perf_counter() - started)


def build_client(url: str, address: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=1))
    return httpx.AsyncClient(base_url=url, transport=transport, timeout=120, trust_env=False)


def build_request(texts: Sequence[str], generator: random.Random, n_statements: int, store: bool) -> dict[str, Any]:
    return {"statements": [{"text": text} for text in generator.sample(texts, n_statements)], "store": store}


async def ask_one(client: httpx.AsyncClient, body: dict[str, Any], tally: Tally) -> float:
    """Ask, enter what came back, and return how long it took."""
    started = time.perf_counter()
    try:
        response = await client.post("/v1/score", json=body)
    except httpx.HTTPError as error:
        tally.statuses[type(error).__name__] += 1
        return time.perf_counter() - started
    seconds = time.perf_counter() - started
    tally.statuses[str(response.status_code)] += 1
    (tally.answered if response.is_success else tally.refused).append(seconds)
    if response.status_code in (429, 503) and "Retry-After" not in response.headers:
        tally.without_retry_after += 1
    return seconds


async def measure_service(url: str, texts: Sequence[str], seconds: float, list_size: int, store: bool) -> float:
    """Return how many statements a second four clients get that send lists one after the other."""
    tally, deadline = Tally(), time.monotonic() + seconds

    async def send(number: int) -> None:
        generator = random.Random(number)
        async with build_client(url) as client:
            while time.monotonic() < deadline:
                await ask_one(client, build_request(texts, generator, list_size, store), tally)

    started = time.perf_counter()
    await asyncio.gather(*(send(number) for number in range(4)))
    return tally.statuses["200"] * list_size / (time.perf_counter() - started)


async def measure_usual(url: str, texts: Sequence[str]) -> list[float]:
    """Return what single statements take while nobody else asks."""
    generator = random.Random(1)
    async with build_client(url) as client:
        return [await ask_one(client, build_request(texts, generator, 1, True), Tally()) for _ in range(N_BASELINE)]


async def overload(
    url: str, texts: Sequence[str], *, n_clients: int, seconds: float, statements_a_second: float, n_statements: int
) -> Tally:
    """Let clients ask for so much, and enter what came back until the last answer."""
    tally, started = Tally(), time.monotonic()
    interval = n_clients * n_statements / statements_a_second

    async def send(number: int) -> None:
        generator = random.Random(number)
        address = "127.0.1.1" if number % 10 < SHARED_OF_TEN else f"127.0.2.{number % 250 + 1}"
        async with build_client(url, address) as client:
            due = started + interval * generator.random()
            while due < started + seconds:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await ask_one(client, build_request(texts, generator, n_statements, True), tally)
                due = max(due + interval, time.monotonic())

    is_over = threading.Event()
    # In a thread of its own, so that it does not wait for the clients' turns.
    probing = asyncio.create_task(asyncio.to_thread(probe_health, url, tally, is_over))
    await asyncio.gather(*(send(number) for number in range(n_clients)))
    is_over.set()
    await probing
    return tally


def probe_health(url: str, tally: Tally, is_over: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        while not is_over.wait(PROBE_SECONDS):
            asked = time.perf_counter()
            response = client.get("/readyz")
            tally.probes.append(time.perf_counter() - asked)
            if not response.is_success:
                tally.statuses[f"probe {response.status_code}"] += 1


async def measure_recovery(url: str, texts: Sequence[str], usual: float) -> float:
    """Return the seconds until single statements take what they took before."""
    started, n_in_a_row = time.monotonic(), 0
    generator = random.Random(2)
    first_usual = started
    async with build_client(url) as client:
        while n_in_a_row < 3:
            asked = time.monotonic()
            tally = Tally()
            seconds = await ask_one(client, build_request(texts, generator, 1, True), tally)
            is_usual = seconds <= USUAL_TIMES * usual and tally.statuses["200"] == 1
            first_usual = asked if is_usual and not n_in_a_row else first_usual
            n_in_a_row = n_in_a_row + 1 if is_usual else 0
    return first_usual - started


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    print("\n| | |\n|---|---|")
    for name, figure in rows:
        print(f"| {name} | {figure} |")


def to_rows(tally: Tally, n_statements: int, seconds: float, recovery: float) -> list[tuple[str, str]]:
    others = {status: n for status, n in tally.statuses.items() if status not in ("200", "429", "503")}
    return [
        ("answered 200", str(tally.statuses["200"])),
        ("refused 429", str(tally.statuses["429"])),
        ("refused 503", str(tally.statuses["503"])),
        ("others (must be 0)", f"{sum(others.values())} {others or ''}".strip()),
        ("refusals without Retry-After (must be 0)", str(tally.without_retry_after)),
        ("statements scored a second", f"{len(tally.answered) * n_statements / seconds:.0f}"),
        *((f"answered, p{p}", f"{percentile(tally.answered, p / 100):.2f} s") for p in (50, 95, 99)),
        *((f"refused, p{p}", f"{percentile(tally.refused, p / 100) * 1000:.0f} ms") for p in (50, 99)),
        *((f"health probe meanwhile, p{p}", f"{percentile(tally.probes, p / 100) * 1000:.0f} ms") for p in (50, 99)),
        ("usual again after the last answer", f"{recovery:.1f} s"),
    ]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long the overload lasts")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--times", type=float, default=5, help="how many times its capacity the service is asked for")
    parser.add_argument("--statements", type=int, default=16, help="statements of a request under overload")
    parser.add_argument("--list-size", type=int, default=64, help="statements of a call when throughput is measured")
    return parser.parse_args()


def timed(measure: Callable[[], float]) -> float:
    """Return the better of two measurements: the other load of a machine only ever takes away."""
    return max(measure() for _ in range(2))


def main() -> None:
    """Measure, overload, and print tables."""
    arguments, texts = read_arguments(), read_texts()
    seconds, list_size = max(3.0, arguments.seconds / 10), arguments.list_size
    bare = timed(lambda: measure_scorer(texts, seconds, list_size))
    with run_server() as url:
        usual = asyncio.run(measure_usual(url, texts))
        unkept, kept = (
            timed(lambda store=store: asyncio.run(measure_service(url, texts, seconds, list_size, store)))  # type: ignore[misc]
            for store in (False, True)
        )
        rate = arguments.times * kept
        print(f"{arguments.clients} clients ask for {rate:.0f} statements a second for {arguments.seconds:g} seconds.")
        started = time.monotonic()
        tally = asyncio.run(
            overload(
                url,
                texts,
                n_clients=arguments.clients,
                seconds=arguments.seconds,
                statements_a_second=rate,
                n_statements=arguments.statements,
            )
        )
        took = time.monotonic() - started
        recovery = asyncio.run(measure_recovery(url, texts, statistics.median(usual)))
    print_table(
        [
            (f"bare scorer, lists of {list_size}", f"{bare:.0f} statements a second"),
            ("service, nothing kept", f"{unkept:.0f} ({unkept / bare:.0%})"),
            ("service, everything kept", f"{kept:.0f} ({kept / bare:.0%})"),
            ("one statement, nobody else, p50", f"{statistics.median(usual) * 1000:.0f} ms"),
        ]
    )
    print_table(to_rows(tally, arguments.statements, took, recovery))


if __name__ == "__main__":
    main()
