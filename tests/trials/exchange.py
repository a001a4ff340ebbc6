"""Moves the alias of a real MLflow registry while clients ask a real server, and says in Markdown what they got.

    python -m tests.trials.exchange --moves 4

Two versions take turns: the shipped bundle, and a copy with another version and a slightly other calibration. Every
answer is checked: the version, the digest and the scores in it must be those of one model. Figures hold for the machine
and its other load; the clients, the registry and the trial of each candidate run on it too.
"""

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from credence.bundle import DIGEST_TAG, default_bundle_path, load_bundle
from credence.statement_scorer import StatementScorer
from tests.service.bundle_copies import copy_bundle
from tests.trials.overload import build_client, percentile, print_table, read_texts, wait_until_ready
from training.tracking import BUNDLE_ARTIFACT, make_champion, register_challenger, tracked_run

PATIENCE_SECONDS = 120
N_KEPT = 200
N_TEXTS = 120
PAUSE_SECONDS = 2.0
MIB = 1024 * 1024
SAME = 1e-9


@dataclass(frozen=True)
class Offer:
    """A version in the registry: what it is called, its digest, its run, and its scores for the texts of the trial."""

    version: str
    digest: str
    run_id: str
    confidences: dict[str, float | None]


@dataclass
class Record:
    """What the clients got: when each answer came, how long it took and of which version it was, and what was wrong."""

    answers: list[tuple[float, float, str]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    n_statements: int = 0


class Registry:
    """An MLflow store of its own, with both versions in it."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        copy_bundle(folder / "copy", "0.3.1-trial", factor=0.97)
        self.offers = [self._register(path, folder, texts) for path in (default_bundle_path(), folder / "copy")]

    def _register(self, path: Path, folder: Path, texts: Sequence[str]) -> Offer:
        with tracked_run("trial", self.uri, folder / "artifacts", {}) as run:
            run.log_artifacts(path, BUNDLE_ARTIFACT)
        register_challenger(run, self.uri)
        bundle = load_bundle(path)
        scores = StatementScorer(bundle).score_statements(texts)
        confidences = {text: score.confidence for text, score in zip(texts, scores, strict=True)}
        return Offer(bundle.manifest.model_version, bundle.digest, run.run_id, confidences)

    def move_to(self, offer: Offer) -> None:
        make_champion(offer.run_id, self.uri, {DIGEST_TAG: offer.digest})


@contextmanager
def run_server(folder: Path, tracking_uri: str) -> Iterator[tuple[str, int]]:
    """Run the service with its model from the registry, and give its address and process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "CREDENCE_STATE_PATH": str(folder / "state"),
        "CREDENCE_LOG_LEVEL": "warning",
        "CREDENCE_MODEL_SOURCE": "models:/credence@champion",
        "CREDENCE_MODEL_TRACKING_URI": tracking_uri,
        "CREDENCE_MODEL_CHECK_SECONDS": "0.5",
    }
    command = [str(Path(sys.executable).with_name("credence")), "serve", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until_ready(server, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            server.terminate()
            print(f"\nThe server ended with exit code {server.wait()}.")


def read_memory(pid: int) -> float:
    """Return how many MiB of memory a process holds, or not a number where that cannot be read."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / MIB
    return float("nan")


async def keep_asking(url: str, number: int, offers: Sequence[Offer], record: Record, is_over: asyncio.Event) -> None:
    """Ask one thing after the other: lists and documents, kept and not."""
    generator = random.Random(number)
    texts = list(offers[0].confidences)
    async with build_client(url) as client:
        while not is_over.is_set():
            chosen = generator.sample(texts, generator.choice((1, 2, 4, 8)))
            body: dict[str, Any] = {
                "statements": [{"text": text} for text in chosen],
                "store": generator.random() < 0.5,
            }
            started = time.monotonic()
            try:
                response = await client.post("/v1/score", json=body)
            except httpx.HTTPError as error:
                record.failures[type(error).__name__] += 1
                continue
            if not response.is_success:
                record.failures[str(response.status_code)] += 1
                continue
            answer, now = response.json(), time.monotonic()
            record.n_statements += len(chosen)
            record.answers.append((now, now - started, answer["model"]["model_version"]))
            if not is_of_one_model(answer, chosen, offers):
                record.failures["mixed"] += 1


def is_of_one_model(answer: dict[str, Any], texts: Sequence[str], offers: Sequence[Offer]) -> bool:
    """Say whether version, digest and every score of an answer are those of one offer."""
    model = answer["model"]
    offer = next((o for o in offers if o.version == model["model_version"]), None)
    if offer is None or model["bundle_digest"] != offer.digest:
        return False
    for text, result in zip(texts, answer["results"], strict=True):
        expected = offer.confidences[text]
        if (result["model_version"], result["bundle_digest"]) != (offer.version, offer.digest):
            return False
        if (expected is None) != (result["confidence"] is None):
            return False
        if expected is not None and abs(result["confidence"] - expected) > SAME:
            return False
    return True


async def probe(url: str, record: Record, is_over: asyncio.Event) -> None:
    async with build_client(url) as client:
        while not is_over.is_set():
            if not (await client.get("/readyz")).is_success:
                record.failures["not ready"] += 1
            await asyncio.sleep(0.1)


async def wait_for_version(record: Record, version: str, since: float) -> float:
    """Return how many seconds after a moment the first answer of a version came."""
    while time.monotonic() < since + PATIENCE_SECONDS:
        for at, _, seen in reversed(record.answers):
            if at < since:
                break
            if seen == version:
                return min(at for at, _, v in record.answers if at >= since and v == version) - since
        await asyncio.sleep(0.02)
    sys.exit(f"no answer of {version} within {PATIENCE_SECONDS} seconds")


async def exchange(url: str, pid: int, registry: Registry, *, n_moves: int, n_clients: int) -> None:
    """Move the alias so many times under load, roll back once, and print what came of it."""
    record, is_over, waits, spans = Record(), asyncio.Event(), [], []
    clients = [asyncio.create_task(keep_asking(url, n, registry.offers, record, is_over)) for n in range(n_clients)]
    clients.append(asyncio.create_task(probe(url, record, is_over)))
    started = time.monotonic()
    await asyncio.sleep(2 * PAUSE_SECONDS)
    memory = [read_memory(pid)]
    for move in range(n_moves):
        offer = registry.offers[(move + 1) % 2]
        await asyncio.to_thread(registry.move_to, offer)
        moved = time.monotonic()
        waits.append(await wait_for_version(record, offer.version, moved))
        spans.append((moved, moved + waits[-1]))
        await asyncio.sleep(PAUSE_SECONDS)
        memory.append(read_memory(pid))
    async with build_client(url) as client:
        asked = time.monotonic()
        (await client.post("/v1/admin/model/rollback")).raise_for_status()
        took = time.monotonic() - asked
        shown = (await client.get("/v1/admin/model/candidate")).json()
    await wait_for_version(record, shown["served"]["model_version"], asked)
    await asyncio.sleep(PAUSE_SECONDS)
    is_over.set()
    await asyncio.gather(*clients)
    during = [took for at, took, _ in record.answers if any(a <= at <= b for a, b in spans)]
    others = [took for at, took, _ in record.answers if not any(a <= at <= b for a, b in spans)]
    versions = Counter(version for _, _, version in record.answers)
    shadow = shown["candidate"]["shadow"]
    print_table(
        [
            ("clients, seconds", f"{n_clients}, {time.monotonic() - started:.0f}"),
            ("requests answered", f"{len(record.answers)} ({record.n_statements} statements)"),
            ("failures (must be 0)", f"{record.failures.total()} {dict(record.failures) or ''}".strip()),
            ("versions seen", ", ".join(f"{version}: {n}" for version, n in sorted(versions.items()))),
            ("from the alias's move to the first answer", ", ".join(f"{wait:.1f} s" for wait in waits)),
            ("the rollback took", f"{took:.1f} s"),
            *((f"latency otherwise, p{p}", f"{percentile(others, p / 100) * 1000:.0f} ms") for p in (50, 95, 100)),
            *((f"latency during a trial, p{p}", f"{percentile(during, p / 100) * 1000:.0f} ms") for p in (50, 95, 100)),
            ("memory of the server", ", ".join(f"{mib:.0f}" for mib in memory) + " MiB"),
            ("statements compared, agreement", f"{shadow['n_statements']}, {shadow['agreement']:.3f}"),
            ("mean score shift", f"{shadow['mean_score_shift']:.4f}"),
        ]
    )


async def keep_some(url: str, texts: Sequence[str]) -> None:
    """Have statements kept that candidates can be compared on."""
    async with build_client(url) as client:
        for start in range(0, len(texts), 50):
            statements = [{"text": text} for text in texts[start : start + 50]]
            (await client.post("/v1/score", json={"statements": statements, "store": True})).raise_for_status()


def main() -> None:
    """Set up a registry and a server, move the alias under load, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=4, help="how often the alias moves")
    parser.add_argument("--clients", type=int, default=4)
    arguments, texts = parser.parse_args(), read_texts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = Registry(folder, texts[:N_TEXTS])
        registry.move_to(registry.offers[0])
        with run_server(folder, registry.uri) as (url, pid):
            asyncio.run(keep_some(url, texts[N_TEXTS : N_TEXTS + N_KEPT]))
            asyncio.run(exchange(url, pid, registry, n_moves=arguments.moves, n_clients=arguments.clients))


if __name__ == "__main__":
    main()
