"""Scores the rows of a chunk: each row gets a result or an error, in the order of the rows."""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import uuid4

from credence.scoring import Scorer, StatementScore
from service.batches.chunk_packing import ScoredRow
from service.middleware import log_unexpected
from service.rows.row import BadRow, Row
from service.scoring.pool import PoolStoppedError
from service.store.records import NewScore, Tags

INTERNAL_ERROR: Final = "internal_error"
_FAILED: Final = "Scoring the row failed; the fault is logged without its text, please report it."

Result = ScoredRow | BadRow


def score_chunk(rows: Sequence[Row | BadRow], scorer: Scorer, *, alone: bool) -> list[Result]:
    """Score rows. With ``alone`` a failure costs only the row that fails; else it is raised as it is.

    Raises ``PoolStoppedError`` in any case.
    """
    good = [row for row in rows if isinstance(row, Row)]
    scores: Iterator[StatementScore | None]
    try:
        scores = iter(_score(good, scorer))
    except PoolStoppedError:
        raise
    except Exception as error:
        if not alone:
            raise
        log_unexpected(error)
        scores = iter([_score_alone(row, scorer) for row in good])
    return [row if isinstance(row, BadRow) else _to_result(row, next(scores)) for row in rows]


def refuse_chunk(rows: Sequence[Row | BadRow]) -> list[Result]:
    """Return an error for every row."""
    return [row if isinstance(row, BadRow) else _to_result(row, None) for row in rows]


def with_score_ids(results: Sequence[Result]) -> list[Result]:
    """Give each score an id to be kept under."""
    return [r if isinstance(r, BadRow) else ScoredRow(r.line, r.id, uuid4(), r.score) for r in results]


def to_new_scores(rows: Sequence[Row | BadRow], results: Sequence[Result], whole: Tags) -> list[NewScore]:
    """Return what is to be kept; a row without tags of its own gets those of the whole."""
    return [
        NewScore(
            id=result.score_id,
            caller_id=None if row.id is None else str(row.id),
            tags=Tags(row.source or whole.source, row.author or whole.author, row.document_id),
            text=row.text,
            score=result.score,
            batch_line=row.line,
        )
        for row, result in zip(rows, results, strict=True)
        if isinstance(row, Row) and isinstance(result, ScoredRow) and result.score_id is not None
    ]


def _score(rows: Sequence[Row], scorer: Scorer) -> list[StatementScore]:
    return scorer.score_statements([row.text for row in rows], languages=[row.language for row in rows])


def _score_alone(row: Row, scorer: Scorer) -> StatementScore | None:
    try:
        return _score([row], scorer)[0]
    except PoolStoppedError:
        raise
    except Exception as error:
        log_unexpected(error)
        return None


def _to_result(row: Row, score: StatementScore | None) -> Result:
    if score is None:
        return BadRow(row.line, row.id, INTERNAL_ERROR, _FAILED)
    return ScoredRow(row.line, row.id, None, score)
