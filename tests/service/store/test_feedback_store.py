from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from credence.labels import Outcome
from service.store.database import Database
from service.store.feedback_store import FeedbackFilter, FeedbackStore, NewFeedback, StoredFeedback
from service.store.records import ScoreFilter
from service.store.score_store import ScoreStore
from service.store.tables import events
from tests.service.store.conftest import Clock, NewScores
from tests.service.tiny_scorer import TinyScorer

pytestmark = pytest.mark.on_both_databases
REPORT = "The court met on Monday."
ALLEGATION = Outcome.ALLEGATION


@pytest.fixture
def feedback_store(database: Database, clock: Clock) -> FeedbackStore:
    return FeedbackStore(database, now=clock)


@pytest.fixture
def score_id(store: ScoreStore, new_scores: NewScores) -> UUID:
    """A statement that was scored as a factual report."""
    return keep_score(store, new_scores, REPORT)


def keep_score(store: ScoreStore, new_scores: NewScores, text: str) -> UUID:
    (new,) = new_scores(text)
    store.keep_statements([new], TinyScorer().info, uuid4())
    return new.id


def keep(
    feedback_store: FeedbackStore,
    score_id: UUID,
    label: Outcome,
    *,
    reviewer: str | None = None,
    reason: str | None = None,
) -> StoredFeedback:
    kept = feedback_store.keep(NewFeedback(score_id, label, reason, reviewer))
    assert kept is not None
    return kept.feedback


def test_what_is_kept_comes_back_as_it_was(feedback_store: FeedbackStore, score_id: UUID, clock: Clock) -> None:
    kept = keep(feedback_store, score_id, ALLEGATION, reviewer="Олена", reason="Says 'it is said'.")
    assert (kept.score_id, kept.proposed_label, kept.reviewer) == (score_id, ALLEGATION, "Олена")
    assert (kept.reason, kept.created_at) == ("Says 'it is said'.", clock.time)
    assert (kept.is_dispute, kept.outcome) == (True, Outcome.FACTUAL_REPORT)
    assert feedback_store.list_feedback(FeedbackFilter(), limit=10) == [kept]


@pytest.mark.parametrize(
    ("text", "agreed"),
    [
        (REPORT, Outcome.FACTUAL_REPORT),
        ("Is it so?", Outcome.NOT_A_CLAIM),
        # Not scored at all.
        ("Too short", Outcome.NOT_A_CLAIM),
    ],
)
def test_only_another_label_than_was_scored_is_a_dispute(
    feedback_store: FeedbackStore, store: ScoreStore, new_scores: NewScores, text: str, agreed: Outcome
) -> None:
    score_id = keep_score(store, new_scores, text)
    disputes = {label for label in Outcome if keep(feedback_store, score_id, label, reviewer="r").is_dispute}
    assert disputes == set(Outcome) - {agreed}


def test_a_dispute_shows_at_the_score_and_the_score_stays_as_it_was(
    feedback_store: FeedbackStore, store: ScoreStore, score_id: UUID
) -> None:
    before = store.read_score(score_id)
    keep(feedback_store, score_id, Outcome.FACTUAL_REPORT, reviewer="a")
    assert store.list_scores(ScoreFilter(is_disputed=True), limit=10) == []
    keep(feedback_store, score_id, ALLEGATION, reviewer="b")
    (disputed,) = store.list_scores(ScoreFilter(is_disputed=True), limit=10)
    assert before is not None
    assert (disputed.id, disputed.score, disputed.n_disputes) == (score_id, before.score, 1)


def test_the_same_word_of_the_same_reviewer_is_kept_once(feedback_store: FeedbackStore, score_id: UUID) -> None:
    new = NewFeedback(score_id, ALLEGATION, "because", "a")
    first, again = feedback_store.keep(new), feedback_store.keep(new)
    assert first is not None
    assert again is not None
    assert (first.is_new, again.is_new) == (True, False)
    assert again.feedback == first.feedback
    assert len(feedback_store.list_feedback(FeedbackFilter(), limit=10)) == 1


def test_the_same_word_sent_many_times_at_once_is_kept_once(feedback_store: FeedbackStore, score_id: UUID) -> None:
    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(feedback_store.keep, [NewFeedback(score_id, ALLEGATION, None, "a")] * 8))
    assert sum(k is not None and k.is_new for k in kept) == 1
    assert len({k.feedback.id for k in kept if k is not None}) == 1


def test_another_word_or_reason_and_a_word_taken_back_are_kept(feedback_store: FeedbackStore, score_id: UUID) -> None:
    for label, reason in [(ALLEGATION, None), (ALLEGATION, "why"), (Outcome.NOT_A_CLAIM, None), (ALLEGATION, None)]:
        keep(feedback_store, score_id, label, reason=reason, reviewer="a")
    kept = feedback_store.list_feedback(FeedbackFilter(), limit=10)
    assert [(k.proposed_label, k.reason) for k in kept[::-1]] == [
        (ALLEGATION, None),
        (ALLEGATION, "why"),
        (Outcome.NOT_A_CLAIM, None),
        (ALLEGATION, None),
    ]


def test_nobody_without_a_name_is_taken_for_somebody_else(feedback_store: FeedbackStore, score_id: UUID) -> None:
    assert len({keep(feedback_store, score_id, ALLEGATION).id for _ in range(2)}) == 2


def test_feedback_on_nothing_is_not_kept(feedback_store: FeedbackStore) -> None:
    assert feedback_store.keep(NewFeedback(uuid4(), ALLEGATION)) is None
    assert feedback_store.list_feedback(FeedbackFilter(), limit=10) == []


def test_an_event_says_that_feedback_came_and_not_what_was_written(
    feedback_store: FeedbackStore, database: Database, score_id: UUID
) -> None:
    kept = keep(feedback_store, score_id, ALLEGATION, reason="SECRET", reviewer="SECRET")
    keep(feedback_store, score_id, ALLEGATION, reason="SECRET", reviewer="SECRET")
    with database.reading() as connection:
        payloads = connection.execute(select(events.c.payload).where(events.c.kind == "feedback")).scalars().all()
    told = {"feedback_id": str(kept.id), "score_id": str(score_id), "proposed_label": "allegation", "is_dispute": True}
    assert payloads == [told]


def test_a_filter_lets_through_what_it_names(
    feedback_store: FeedbackStore, store: ScoreStore, new_scores: NewScores, score_id: UUID, clock: Clock
) -> None:
    other = keep_score(store, new_scores, "They secretly rule us all.")
    agreeing = keep(feedback_store, score_id, Outcome.FACTUAL_REPORT)
    clock.time += timedelta(microseconds=1)
    disputing = keep(feedback_store, other, ALLEGATION)
    for chosen, expected in [
        (FeedbackFilter(is_dispute=True), [disputing]),
        (FeedbackFilter(is_dispute=False), [agreeing]),
        (FeedbackFilter(score_id=other), [disputing]),
        (FeedbackFilter(score_id=uuid4()), []),
        (FeedbackFilter(since=clock.time), [disputing]),
        (FeedbackFilter(until=clock.time), [agreeing]),
        (FeedbackFilter(since=clock.time, until=clock.time), []),
    ]:
        assert feedback_store.list_feedback(chosen, limit=10) == expected


def test_the_newest_come_first_and_pages_meet(feedback_store: FeedbackStore, score_id: UUID) -> None:
    kept = [keep(feedback_store, score_id, ALLEGATION).id for _ in range(5)]
    pages = []
    before = None
    while page := feedback_store.list_feedback(FeedbackFilter(), limit=2, before_seq=before):
        pages.append([k.id for k in page])
        before = page[-1].seq
    assert pages == [kept[:2:-1], kept[2:0:-1], kept[:1]]


def test_feedback_goes_alone_and_with_its_score(
    feedback_store: FeedbackStore, store: ScoreStore, score_id: UUID
) -> None:
    first, second = (keep(feedback_store, score_id, ALLEGATION) for _ in range(2))
    assert [feedback_store.delete(first.id), feedback_store.delete(first.id)] == [True, False]
    assert feedback_store.has_score(score_id)
    store.delete_score(score_id)
    assert [feedback_store.delete(second.id), feedback_store.has_score(score_id)] == [False, False]
