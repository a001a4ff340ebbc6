"""A store on either kind of database, with scores to keep in it."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service.store.batch_queue import BatchQueue
from service.store.batch_store import BatchStore
from service.store.database import Database
from service.store.records import NewScore, Tags
from service.store.score_store import ScoreStore
from tests.service.store.batch_samples import SPOOL
from tests.service.tiny_scorer import TinyScorer

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NewScores = Callable[..., list[NewScore]]


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, clock: Clock) -> ScoreStore:
    return ScoreStore(database, now=clock)


@pytest.fixture
def batch_store(database: Database, clock: Clock) -> BatchStore:
    return BatchStore(database, now=lambda connection: clock())


@pytest.fixture
def queue(database: Database, clock: Clock) -> BatchQueue:
    return BatchQueue(database, SPOOL, now=lambda connection: clock())


@pytest.fixture
def new_scores() -> NewScores:
    def build(*texts: str, source: str | None = None, document_id: str | None = None) -> list[NewScore]:
        scores = TinyScorer().score_statements(texts)
        tags = Tags(source=source, document_id=document_id)
        return [
            NewScore(uuid4(), f"row {n}", tags, text, score)
            for n, (text, score) in enumerate(zip(texts, scores, strict=True))
        ]

    return build
