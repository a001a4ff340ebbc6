"""Batches and their chunks, to be entered and finished by hand."""

from uuid import UUID, uuid4

from service.store.batch_queue import BatchQueue
from service.store.batch_records import ChunkOutcome, NewBatch, NewChunk
from service.store.database import Database
from service.store.records import NewScore, ScoreFilter, Tags
from service.store.score_store import ScoreStore
from tests.service.tiny_scorer import TinyScorer

INFO = TinyScorer().info
SPOOL, OTHER_SPOOL = UUID(int=1), UUID(int=2)
CHUNK = NewChunk(2, b"rows")


def new_batch(key: str | None = None, *, is_stored: bool = True, spool_id: UUID = SPOOL) -> NewBatch:
    return NewBatch(uuid4(), key, "jsonl", "utf-8", 100, is_stored, "wire", None, spool_id)


def outcome(first_line: int = 1, n_errors: int = 0) -> ChunkOutcome:
    texts = ("The court met on Monday.", "He claims that it rained.")
    new = [
        NewScore(uuid4(), None, Tags(), text, score, batch_line=line)
        for line, (text, score) in enumerate(
            zip(texts, TinyScorer().score_statements(texts), strict=True), start=first_line
        )
    ]
    return ChunkOutcome(n_errors, new[n_errors:], b"results")


def split(queue: BatchQueue, n_chunks: int, failure: str | None = None) -> None:
    claim = queue.claim_split()
    assert claim is not None
    for number in range(1, n_chunks + 1):
        assert queue.enter_chunks(claim, [CHUNK], first_number=number, n_read_bytes=number)
    assert queue.end_split(claim, failure=failure)


def finish(queue: BatchQueue) -> int | None:
    claim = queue.claim_chunk()
    if claim is None:
        return None
    assert queue.finish_chunk(claim, outcome(2 * claim.number - 1), INFO)
    return claim.number


def lines(database: Database) -> list[int]:
    return sorted(s.batch_line or 0 for s in ScoreStore(database).list_scores(ScoreFilter(), limit=1000))
