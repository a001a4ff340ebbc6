"""The rows and results of a chunk as bytes: compressed JSON, for the database or a file."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from credence.scoring import StatementScore
from service.rows.row import BadRow, Row, RowId


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """The result of a row. ``score_id`` is null where it is not stored."""

    line: int
    id: RowId
    score_id: UUID | None
    score: StatementScore


def pack_rows(rows: Sequence[Row | BadRow]) -> bytes:
    """Return rows as bytes."""
    return _pack([asdict(row) for row in rows])


def unpack_rows(packed: bytes) -> list[Row | BadRow]:
    """Return the rows that ``pack_rows`` took."""
    return [BadRow(**fields) if "kind" in fields else Row(**fields) for fields in _unpack(packed)]


def pack_results(results: Sequence[ScoredRow | BadRow]) -> bytes:
    """Return results as bytes."""
    return _pack([asdict(result) for result in results])


def unpack_results(packed: bytes) -> list[ScoredRow | BadRow]:
    """Return the results that ``pack_results`` took."""
    return [BadRow(**fields) if "kind" in fields else _to_scored(fields) for fields in _unpack(packed)]


def _to_scored(fields: dict[str, Any]) -> ScoredRow:
    score, score_id = fields["score"], fields["score_id"]
    prediction_set = score["prediction_set"]
    score["prediction_set"] = None if prediction_set is None else tuple(prediction_set)
    kept_under = None if score_id is None else UUID(score_id)
    return ScoredRow(fields["line"], fields["id"], kept_under, StatementScore(**score))


def _pack(content: list[dict[str, Any]]) -> bytes:
    # Half a surrogate pair in a text is written as an escape.
    return zlib.compress(json.dumps(content, separators=(",", ":"), default=str).encode("ascii"))


def _unpack(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))
