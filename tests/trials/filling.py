"""A year of scores that nobody has scored: realistic in everything but its texts, which are made from numbers."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, text

from credence.labels import OUTCOMES, Outcome
from service.store.database import Database
from service.store.tables import documents, feedback, models, scores, to_microseconds
from tests.service.tiny_scorer import TinyScorer

START: Final = datetime(2025, 7, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
N_SOURCES: Final = 24
PORTION_ROWS: Final = 20_000
_LANGUAGES: Final = ("en", "uk", "ru", None)
_LANGUAGE_SHARES: Final = tuple(accumulate((0.42, 0.36, 0.2, 0.02)))
_OUTCOME_SHARES: Final = tuple(accumulate((0.5, 0.22, 0.12, 0.16)))
# A source has about two thirds of the scores of the one before it, at first, and then a long tail begins.
_SOURCE_WEIGHTS: Final = tuple(accumulate(1 / (1 + rank) ** 1.1 for rank in range(N_SOURCES)))
_DOCUMENT_SHARE: Final = 0.25
_FEEDBACK_SHARE: Final = 0.002
_SCORE_COLUMNS: Final = (
    "seq", "id", "scored_at", "request_id", "caller_id", "source", "author", "document_id", "document_seq", "text",
    "label", "reason", "outcome", *(f"score_{outcome}" for outcome in OUTCOMES), "confidence", "prediction_set",
    "language", "start_char", "end_char", "is_cut", "read_end_char", "model_seq",
)  # fmt: skip
_DOCUMENT_COLUMNS: Final = (
    "seq", "id", "scored_at", "request_id", "source", "document_id", "text", "is_cut", "n_statements", "model_seq",
)  # fmt: skip
_FEEDBACK_COLUMNS: Final = ("id", "score_seq", "created_at", "proposed_label", "is_dispute", "reason", "reviewer")
Row = tuple[Any, ...]


class YearOfScores:
    """Makes the rows of three tables, portion by portion, in the order of time. The same seed gives the same rows."""

    def __init__(self, n_scores: int, *, seed: int) -> None:
        self._n_scores = n_scores
        self._random = random.Random(seed)
        self._step = YEAR / n_scores
        self._document_seq = 0

    def make_portions(self) -> Iterator[dict[Table, list[Row]]]:
        """Return the rows by table; those of a portion refer to none of a later one."""
        rows: dict[Table, list[Row]] = {documents: [], scores: [], feedback: []}
        seq = 0
        while seq < self._n_scores:
            seq += self._add_request(seq + 1, rows)
            if len(rows[scores]) >= PORTION_ROWS:
                yield rows
                rows = {documents: [], scores: [], feedback: []}
        yield rows

    def _add_request(self, first_seq: int, rows: dict[Table, list[Row]]) -> int:
        draw = self._random
        n_statements = min(int(draw.expovariate(1 / 8)) + 1, self._n_scores - first_seq + 1)
        at = to_microseconds(START + self._step * first_seq)
        request_id = self._identifier()
        source = f"source-{draw.choices(range(N_SOURCES), cum_weights=_SOURCE_WEIGHTS)[0]:02}"
        document_id = f"item-{first_seq}"
        is_document = draw.random() < _DOCUMENT_SHARE
        texts = [_make_text(first_seq + n) for n in range(n_statements)]
        if is_document:
            self._document_seq += 1
            whole = (" ".join(texts), False, n_statements, 1)
            found = (self._document_seq, self._identifier(), at, request_id, source, document_id)
            rows[documents].append((*found, *whole))
        start = 0
        for n, content in enumerate(texts):
            tags = (f"row-{n}", source, f"author-{draw.randrange(400)}", document_id)
            place = (self._document_seq, None) if is_document else (None, content)
            end = start + len(content)
            score, outcome = self._make_score()
            identity = (first_seq + n, self._identifier(), at, request_id)
            rows[scores].append((*identity, *tags, *place, *score, start, end, False, end, 1))
            start = end + 1 if is_document else 0
            if draw.random() < _FEEDBACK_SHARE:
                rows[feedback].append(self._make_feedback(first_seq + n, at, outcome))
        return n_statements

    def _make_score(self) -> tuple[Row, Outcome | None]:
        draw = self._random
        language = _LANGUAGES[_pick(draw.random(), _LANGUAGE_SHARES)]
        if language is None or draw.random() < 0.02:
            why = "unsupported_language" if language is None else "too_short"
            return (None, why, None, *[None] * len(OUTCOMES), None, None, language), None
        outcome = OUTCOMES[_pick(draw.random(), _OUTCOME_SHARES)]
        confidence = round(0.4 + 0.6 * draw.betavariate(3, 1.5), 4)
        rest = (1 - confidence) / (len(OUTCOMES) - 1)
        values = [confidence if found is outcome else rest for found in OUTCOMES]
        is_labelled = outcome is not OUTCOMES[-1]
        label, reason = (outcome, None) if is_labelled else (None, "not_a_claim")
        return (label, reason, outcome, *values, confidence, json.dumps([outcome]), language), outcome

    def _make_feedback(self, score_seq: int, at: int, outcome: Outcome | None) -> Row:
        proposed = self._random.choice(OUTCOMES)
        later = at + self._random.randrange(1, 7 * 86_400_000_000)
        return (self._identifier(), score_seq, later, proposed, proposed != outcome, None, "reviewer-1")

    def _identifier(self) -> str:
        return UUID(int=self._random.getrandbits(128), version=4).hex


def fill(database: Database, n_scores: int, *, seed: int) -> None:
    """Put a year of scores into an empty, migrated database."""
    with database.writing() as connection:
        info = asdict(TinyScorer().info)
        connection.execute(models.insert().values(seq=1, **info))
    for portion in YearOfScores(n_scores, seed=seed).make_portions():
        with database.writing() as connection:
            for table, rows in portion.items():
                columns = _columns_of(table)
                _insert(database, connection.connection.driver_connection, table.name, columns, rows)
    if database.kind == "postgresql":
        with database.writing(takes_turn=False) as connection:
            for table in (models, documents, scores, feedback):
                name = table.name
                connection.execute(text(f"SELECT setval('{name}_seq_seq', (SELECT max(seq) FROM {name}))"))
        # The server would do so by itself, some minutes later.
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _insert(database: Database, driver: Any, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    names = ", ".join(columns)
    if database.kind == "sqlite":
        driver.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", rows)
        return
    with driver.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _columns_of(table: Table) -> Sequence[str]:
    return {scores: _SCORE_COLUMNS, documents: _DOCUMENT_COLUMNS, feedback: _FEEDBACK_COLUMNS}[table]


def _pick(drawn: float, shares: Sequence[float]) -> int:
    return next((n for n, share in enumerate(shares) if drawn < share), len(shares) - 1)


def _make_text(number: int) -> str:
    """Return a sentence of about the usual length that says nothing."""
    return f"Statement {number} says that item {number * 7919 % 100_003} of list {number % 977} is {number * 31 % 89}."
