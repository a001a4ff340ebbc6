from datetime import timedelta
from uuid import uuid4

import pytest

from service.store.records import NewDocument, NewScore, ScoreFilter, Tags
from service.store.score_store import ScoreStore
from tests.service.store.conftest import Clock, NewScores
from tests.service.tiny_scorer import TinyScorer

pytestmark = pytest.mark.on_both_databases
INFO = TinyScorer().info
TEXTS = ("The court met on Monday.", "He claims that it rained.", "Вони таємно керують усім світом 😀.", "Too short")


def keep_document(store: ScoreStore, text: str, **tags: str) -> NewDocument:
    given = Tags(**tags)
    document = NewDocument(uuid4(), "article", given, text, False)
    scores = TinyScorer().score_document(text).statements
    store.keep_document(document, [NewScore(uuid4(), None, given, None, s) for s in scores], INFO, uuid4())
    return document


def test_what_is_kept_comes_back_as_it_was(store: ScoreStore, new_scores: NewScores, clock: Clock) -> None:
    new = new_scores(*TEXTS, source="wire", document_id="d-1")
    request_id = store.keep_statements(new, INFO, uuid4())
    stored = store.read_request(request_id)
    assert [(s.id, s.caller_id, s.text, s.score, s.tags) for s in stored] == [
        (n.id, n.caller_id, n.text, n.score, n.tags) for n in new
    ]
    assert {(s.scored_at, s.calibration_id, s.n_disputes) for s in stored} == {(clock.time, INFO.calibration_id, 0)}


def test_statements_of_a_document_are_sliced_out_of_its_text(store: ScoreStore) -> None:
    text = "😀 The court met on Monday. Вони таємно керують усім світом."
    kept = keep_document(store, text, source="wire")
    document = store.read_document(kept.id)
    assert document is not None
    assert (document.text, document.caller_id, document.tags, document.model) == (text, "article", kept.tags, INFO)
    assert [s.text for s in document.statements] == [
        text[s.score.start_char : s.score.end_char] for s in document.statements
    ]
    assert {s.stored_document_id for s in document.statements} == {kept.id}


def test_the_newest_come_first_and_pages_meet(store: ScoreStore, new_scores: NewScores) -> None:
    for number in range(7):
        store.keep_statements(new_scores(f"The court met on day {number}."), INFO, uuid4())
    pages = []
    before = None
    while page := store.list_scores(ScoreFilter(), limit=3, before_seq=before):
        pages.append([s.text[-2] for s in page])
        before = page[-1].seq
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (ScoreFilter(label="allegation"), [TEXTS[1]]),
        (ScoreFilter(label="none"), [TEXTS[3]]),
        (ScoreFilter(language="uk"), [TEXTS[2]]),
        (ScoreFilter(source="wire"), list(TEXTS[::-1])),
        (ScoreFilter(source="Wire"), []),
        (ScoreFilter(min_confidence=0.7, label="factual_report"), [TEXTS[0]]),
        (ScoreFilter(max_confidence=0.6), []),
        (ScoreFilter(model_version=INFO.model_version, reason="too_short"), [TEXTS[3]]),
        (ScoreFilter(model_version="other"), []),
        (ScoreFilter(is_disputed=True), []),
        (ScoreFilter(is_disputed=False, language="en", reason="too_short"), [TEXTS[3]]),
    ],
)
def test_a_filter_lets_through_what_it_names(
    store: ScoreStore, new_scores: NewScores, chosen: ScoreFilter, expected: list[str]
) -> None:
    store.keep_statements(new_scores(*TEXTS, source="wire"), INFO, uuid4())
    assert [s.text for s in store.list_scores(chosen, limit=10)] == expected


def test_a_span_of_time_is_half_open(store: ScoreStore, new_scores: NewScores, clock: Clock) -> None:
    start = clock.time
    for number in range(3):
        clock.time = start + timedelta(microseconds=number)
        store.keep_statements(new_scores(f"The court met on day {number}."), INFO, uuid4())
    chosen = ScoreFilter(since=start, until=start + timedelta(microseconds=2))
    assert [s.text[-2] for s in store.list_scores(chosen, limit=10)] == ["1", "0"]


def test_an_idempotency_key_keeps_a_request_once(store: ScoreStore, new_scores: NewScores) -> None:
    first = store.keep_statements(new_scores(TEXTS[0]), INFO, uuid4(), idempotency_key="k")
    again = store.keep_statements(new_scores(TEXTS[0]), INFO, uuid4(), idempotency_key="k")
    assert (first, store.find_request("k")) == (again, first)
    assert len(store.list_scores(ScoreFilter(), limit=10)) == 1


def test_deleting_by_tag_takes_texts_and_statements_along(store: ScoreStore, new_scores: NewScores) -> None:
    gone = keep_document(store, "The court met on Monday.", source="wire", document_id="d-1")
    stays = keep_document(store, "The court met on Tuesday.", source="other", document_id="d-2")
    store.keep_statements(new_scores(*TEXTS, source="wire"), INFO, uuid4())
    assert store.delete_matching(source="wire") == 5
    assert store.read_document(gone.id) is None
    assert store.read_document(stays.id) is not None
    assert store.delete_matching(document_id="d-2") == 1
    assert store.list_scores(ScoreFilter(), limit=10) == []


def test_deleting_without_a_tag_is_refused(store: ScoreStore) -> None:
    with pytest.raises(ValueError, match="source"):
        store.delete_matching()


def test_deleting_one_document_or_score_leaves_the_rest(store: ScoreStore, new_scores: NewScores) -> None:
    document = keep_document(store, "The court met on Monday.")
    new = new_scores(*TEXTS)
    store.keep_statements(new, INFO, uuid4())
    assert [store.delete_score(new[0].id), store.delete_score(new[0].id)] == [True, False]
    assert [store.delete_document(document.id), store.delete_document(document.id)] == [True, False]
    assert len(store.list_scores(ScoreFilter(), limit=10)) == 3


def test_what_is_older_than_the_retention_goes(store: ScoreStore, new_scores: NewScores, clock: Clock) -> None:
    old = keep_document(store, "The court met on Monday.")
    clock.time += timedelta(days=2)
    store.keep_statements(new_scores(TEXTS[0]), INFO, uuid4())
    assert store.delete_before(clock.time) == 1
    assert store.read_document(old.id) is None
    assert len(store.list_scores(ScoreFilter(), limit=10)) == 1


def test_the_revision_rises_with_what_is_written(store: ScoreStore, new_scores: NewScores) -> None:
    before = store.read_revision()
    store.list_scores(ScoreFilter(), limit=10)
    assert store.read_revision() == before
    store.keep_statements(new_scores(TEXTS[0]), INFO, uuid4())
    assert store.read_revision() > before
