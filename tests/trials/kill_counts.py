"""Counts what was lost and what was doubled, against what the server has acknowledged."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from uuid import UUID

import httpx
from sqlalchemy import Connection, func, select, text

from service.store.database import Database
from service.store.tables import batches, documents, scores
from tests.trials.kill_clients import BatchClient, ScoringClient


@dataclass
class Counts:
    """What a trial has come to. Doubled ones are counted by how many there are too many."""

    n_kills: int = 0
    n_database_kills: int = 0
    seconds: float = 0.0
    n_scores: int = 0
    scores_lost: int = 0
    scores_doubled: int = 0
    n_documents: int = 0
    documents_lost: int = 0
    documents_doubled: int = 0
    requests_answered_again: int = 0
    n_batches: int = 0
    n_batch_rows: int = 0
    result_rows_lost: int = 0
    result_rows_doubled: int = 0
    batches_out_of_order: int = 0
    stored_rows_lost: int = 0
    stored_rows_doubled: int = 0
    unexpected_answers: int = 0
    damages: int = 0

    @property
    def is_bad(self) -> bool:
        """Say whether anything is not as it must be."""
        bad = [name for name in _names() if name.endswith(("_lost", "_doubled"))]
        others = ("batches_out_of_order", "unexpected_answers", "damages")
        return any(getattr(self, name) for name in (*bad, *others))

    def to_rows(self) -> dict[str, str]:
        """Return the counts by their names in words."""
        return {name.removeprefix("n_").replace("_", " "): f"{getattr(self, name):,.0f}" for name in _names()}


def _names() -> list[str]:
    return [field.name for field in fields(Counts)]


def count_results(http: httpx.Client, batcher: BatchClient) -> Counts:
    """Fetch the results of every batch, and compare their rows with what was sent."""
    counts = Counts(unexpected_answers=len(batcher.faults))
    counts.requests_answered_again = batcher.acknowledged.n_repeated
    for number, batch_id in batcher.acknowledged.batches.items():
        answer = http.get(f"/v1/batches/{batch_id}/results").raise_for_status()
        found = [json.loads(line)["id"] for line in answer.text.splitlines()]
        sent = [batcher.row_id(number, row) for row in range(batcher.n_rows)]
        lost, doubled = _compare(sent, found)
        counts.n_batches += 1
        counts.n_batch_rows += len(sent)
        counts.result_rows_lost += lost
        counts.result_rows_doubled += doubled
        counts.batches_out_of_order += found != sent
    return counts


def count_kept(database: Database, scorers: Sequence[ScoringClient], batcher: BatchClient, counts: Counts) -> None:
    """Compare what the database holds with what was acknowledged."""
    with database.reading() as connection:
        for client in scorers:
            counts.unexpected_answers += len(client.faults)
            counts.requests_answered_again += client.acknowledged.n_repeated
        _count_scores(connection, scorers, counts)
        _count_documents(connection, scorers, counts)
        for number, batch_id in batcher.acknowledged.batches.items():
            is_of = (batches.c.id == UUID(batch_id),)
            query = select(scores.c.caller_id).join(batches, batches.c.seq == scores.c.batch_seq).where(*is_of)
            sent = [batcher.row_id(number, row) for row in range(batcher.n_rows)]
            lost, doubled = _compare(sent, connection.execute(query).scalars())
            counts.stored_rows_lost += lost
            counts.stored_rows_doubled += doubled
        if database.kind == "sqlite":
            counts.damages += connection.execute(text("PRAGMA integrity_check")).scalars().all() != ["ok"]
            counts.damages += len(connection.execute(text("PRAGMA foreign_key_check")).all())


def _count_scores(connection: Connection, scorers: Sequence[ScoringClient], counts: Counts) -> None:
    query = select(scores.c.caller_id, scores.c.id).where(scores.c.batch_seq.is_(None), scores.c.document_seq.is_(None))
    found = [(row.caller_id, row.id) for row in connection.execute(query)]
    sent = [item for client in scorers for item in client.acknowledged.scores.items()]
    counts.n_scores = len(sent)
    counts.scores_lost, _ = _compare(sent, found)
    counts.scores_doubled = len(found) - len({caller_id for caller_id, _ in found})


def _count_documents(connection: Connection, scorers: Sequence[ScoringClient], counts: Counts) -> None:
    n_statements = select(func.count()).where(scores.c.document_seq == documents.c.seq).scalar_subquery()
    query = select(documents.c.caller_id, documents.c.id, n_statements.label("n_statements"))
    found = [(row.caller_id, (row.id, row.n_statements)) for row in connection.execute(query)]
    sent = [item for client in scorers for item in client.acknowledged.documents.items()]
    counts.n_documents = len(sent)
    counts.documents_lost, _ = _compare(sent, found)
    counts.documents_doubled = len(found) - len({caller_id for caller_id, _ in found})


def _compare(sent: Iterable[object], found: Iterable[object]) -> tuple[int, int]:
    """Return how many are missing, and how many are there too often."""
    expected, counted = Counter(sent), Counter(found)
    return (expected - counted).total(), sum(n - 1 for n in counted.values() if n > 1)
