"""Lets things happen that are told of: scores that are kept, and events of other kinds."""

from typing import Any
from uuid import uuid4

from service.store.database import Database
from service.store.records import NewScore, Tags
from service.store.score_store import ScoreStore, utc_now
from service.store.score_writes import insert_event
from tests.service.tiny_scorer import TinyScorer


def keep(database: Database, *texts: str, **tags: str) -> list[NewScore]:
    scores = TinyScorer().score_statements(texts)
    new = [NewScore(uuid4(), None, Tags(**tags), text, score) for text, score in zip(texts, scores, strict=True)]
    ScoreStore(database).keep_statements(new, TinyScorer().info, uuid4())
    return new


def happen(database: Database, kind: str, **payload: Any) -> None:
    with database.writing() as connection:
        insert_event(connection, kind, payload, at=utc_now())
