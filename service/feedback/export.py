"""Turns feedback into training rows: one a scored statement, with what reviewers propose and where it came from.

No name of a reviewer is written: what they said is counted in the database, and only the counts leave it.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, case, func, select

from credence.labels import Outcome
from service.rows.writers import replacing
from service.store.database import Database
from service.store.records import StoredScore
from service.store.score_reads import read_scores_by_seq
from service.store.tables import feedback
from service.utc_times import write_time

# So many scores are held at a time, and no transaction is open while they are written.
PAGE_SCORES: Final = 500
TIE: Final = "tie"
ANONYMOUS: Final = "anonymous"


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """Which scores are exported: those with feedback from a time on, with a dispute, with so many reviewers.

    Whatever is chosen, all feedback of a score is counted.
    """

    since: datetime | None = None
    is_disputed: bool = False
    min_reviewers: int = 1


@dataclass(slots=True)
class ExportCounts:
    """How many rows were written, and why some have no label; ``n_left_out`` had too few reviewers."""

    n_rows: int = 0
    n_ties: int = 0
    n_anonymous: int = 0
    n_left_out: int = 0

    def __str__(self) -> str:
        """Return the counts as one line."""
        n_labelled = self.n_rows - self.n_ties - self.n_anonymous
        return (
            f"{self.n_rows} scores with feedback, {n_labelled} of them with a label; without one: {self.n_ties} ties, "
            f"{self.n_anonymous} from nobody with a name; {self.n_left_out} left out for too few reviewers"
        )


@dataclass(frozen=True, slots=True)
class _Span:
    """How much feedback a score has, and from when to when."""

    n_feedback: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class _Proposals:
    """What the reviewers of one score propose. Everybody without a name together is one reviewer."""

    votes: dict[Outcome, int]
    named: frozenset[Outcome]

    def verdict(self) -> tuple[Outcome | None, str | None]:
        """Return the label that most reviewers propose, or null and why there is none."""
        most = max(self.votes.values())
        leading = [label for label, votes in self.votes.items() if votes == most]
        if len(leading) > 1:
            return None, TIE
        return (leading[0], None) if leading[0] in self.named else (None, ANONYMOUS)


def export_feedback(database: Database, path: Path, chosen: ExportChoice) -> ExportCounts:
    """Write the rows as JSON lines into a file that appears only when all are written, and count them.

    Raises ``StorageUnavailableError`` and ``OSError``.
    """
    counts = ExportCounts()
    with replacing(path) as file:
        for row in read_training_rows(database, chosen):
            if row["n_reviewers"] < chosen.min_reviewers:
                counts.n_left_out += 1
                continue
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            counts.n_rows += 1
            counts.n_ties += row["no_label_reason"] == TIE
            counts.n_anonymous += row["no_label_reason"] == ANONYMOUS
    return counts


def read_training_rows(database: Database, chosen: ExportChoice) -> Iterator[dict[str, Any]]:
    """Yield a row for each chosen score, the oldest score first, whatever the number of its reviewers."""
    after = 0
    while True:
        with database.reading() as connection:
            spans = _read_spans(connection, chosen, after)
            proposals = _read_proposals(connection, list(spans))
            scores = {score.seq: score for score in read_scores_by_seq(connection, list(spans))}
        if not spans:
            return
        for seq, span in spans.items():
            # One of them may have been deleted between two of the queries.
            if seq in scores and proposals[seq].votes:
                yield _to_row(scores[seq], proposals[seq], span)
        after = max(spans)


def _read_spans(connection: Connection, chosen: ExportChoice, after: int) -> dict[int, _Span]:
    """Return what there is to say of the feedback of the next scores, by the number of the score."""
    last = func.max(feedback.c.created_at)
    query = (
        select(feedback.c.score_seq, func.count(), func.min(feedback.c.created_at), last)
        .where(feedback.c.score_seq > after)
        .group_by(feedback.c.score_seq)
        .order_by(feedback.c.score_seq)
        .limit(PAGE_SCORES)
    )
    if chosen.since is not None:
        query = query.having(last >= chosen.since)
    if chosen.is_disputed:
        query = query.having(func.sum(case((feedback.c.is_dispute, 1), else_=0)) > 0)
    return {
        seq: _Span(n_feedback, first_at, last_at) for seq, n_feedback, first_at, last_at in connection.execute(query)
    }


def _read_proposals(connection: Connection, seqs: list[int]) -> dict[int, _Proposals]:
    """Count the latest word of each reviewer of these scores."""
    age = func.row_number().over(
        partition_by=(feedback.c.score_seq, feedback.c.reviewer), order_by=feedback.c.seq.desc()
    )
    words = (
        select(
            feedback.c.score_seq,
            feedback.c.proposed_label,
            case((feedback.c.reviewer.is_(None), 0), else_=1).label("is_named"),
            age.label("age"),
        )
        .where(feedback.c.score_seq.in_(seqs))
        .subquery()
    )
    query = (
        select(words.c.score_seq, words.c.proposed_label, func.count().label("votes"), func.max(words.c.is_named))
        .where(words.c.age == 1)
        .group_by(words.c.score_seq, words.c.proposed_label)
    )
    votes: dict[int, dict[Outcome, int]] = {seq: {} for seq in seqs}
    named: dict[int, set[Outcome]] = {seq: set() for seq in seqs}
    for seq, label, n_votes, is_named in connection.execute(query):
        votes[seq][Outcome(label)] = n_votes
        if is_named:
            named[seq].add(Outcome(label))
    return {seq: _Proposals(votes[seq], frozenset(named[seq])) for seq in seqs}


def _to_row(stored: StoredScore, proposals: _Proposals, span: _Span) -> dict[str, Any]:
    label, no_label_reason = proposals.verdict()
    return {
        "id": f"feedback/{stored.id}",
        "text": stored.text,
        "text_sha256": hashlib.sha256(stored.text.encode()).hexdigest(),
        "lang": stored.score.language,
        "label": label,
        "no_label_reason": no_label_reason,
        "n_reviewers": sum(proposals.votes.values()),
        "n_agreeing": max(proposals.votes.values()),
        "n_feedback": span.n_feedback,
        "proposals": {outcome: proposals.votes[outcome] for outcome in Outcome if outcome in proposals.votes},
        "outcome": stored.score.outcome,
        "confidence": stored.score.confidence,
        "model_version": stored.score.model_version,
        "bundle_digest": stored.score.bundle_digest,
        **asdict(stored.tags),
        "stored_document_id": str(stored.stored_document_id) if stored.stored_document_id else None,
        "scored_at": write_time(stored.scored_at),
        "first_feedback_at": write_time(span.first_at),
        "last_feedback_at": write_time(span.last_at),
    }
