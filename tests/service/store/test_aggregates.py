from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Select, insert, select

from credence.labels import Outcome
from service.store.aggregate_queries import MAX_SOURCES, Bucket, Dimension, series_query, totals_query
from service.store.aggregates import MAX_CELLS, OTHER_SOURCES, AggregateStore, Series, TooManyCellsError
from service.store.database import Database
from service.store.feedback_store import FeedbackStore, NewFeedback
from service.store.records import NewScore, ScoreFilter, Tags
from service.store.score_reads import read_scores
from service.store.score_store import STREAM_ROWS, ScoreStore
from service.store.tables import scores
from tests.service.store.conftest import START, Clock
from tests.service.tiny_scorer import TinyScorer

both = pytest.mark.on_both_databases
INFO = TinyScorer().info
FACT, CLAIM, STORY, SHORT = "The court met on Monday.", "He claims that it rained.", "Вони таємно керують.", "Too short"
ANY = ScoreFilter()
Keep = Callable[..., list[NewScore]]


@pytest.fixture
def aggregates(database: Database) -> AggregateStore:
    return AggregateStore(database)


@pytest.fixture
def keep(store: ScoreStore, clock: Clock) -> Keep:
    def build(*texts: str, at: datetime = START, source: str | None = None, version: str = "tiny-1") -> list[NewScore]:
        clock.time = at
        scored = TinyScorer().score_statements(texts)
        new = [NewScore(uuid4(), None, Tags(source), text, score) for text, score in zip(texts, scored, strict=True)]
        store.keep_statements(new, replace(INFO, model_version=version, bundle_digest=f"{version:d<64}"), uuid4())
        return new

    return build


def counts(series: Series) -> dict[tuple[str, str | None], int]:
    begins = {number: series.bucket.begin_of(number).isoformat()[:16] for number, _ in series.cells}
    return {(begins[number], group): tally.n for (number, group), tally in series.cells.items()}


def plan(database: Database, query: Select[tuple[object, ...]]) -> list[str]:
    with database.reading() as connection:
        text = str(query.compile(database.engine, compile_kwargs={"literal_binds": True}))
        return [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]


@both
@pytest.mark.parametrize(
    ("bucket", "begins"),
    [
        (Bucket.HOUR, ["2026-03-01T22:00", "2026-03-01T23:00", "2026-03-02T00:00"]),
        (Bucket.DAY, ["2026-03-01T00:00", "2026-03-01T00:00", "2026-03-02T00:00"]),
        (Bucket.WEEK, ["2026-02-23T00:00", "2026-02-23T00:00", "2026-03-02T00:00"]),
    ],
)
def test_buckets_begin_with_the_hour_at_midnight_and_on_monday(
    aggregates: AggregateStore, keep: Keep, bucket: Bucket, begins: list[str]
) -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    for before in (timedelta(hours=2), timedelta(microseconds=1), timedelta()):
        keep(FACT, at=midnight - before)
    assert counts(aggregates.read_series(ANY, bucket, Dimension.ALL)) == {
        (begin, None): begins.count(begin) for begin in begins
    }


@both
def test_a_clock_before_1970_is_bucketed_too(aggregates: AggregateStore, keep: Keep) -> None:
    keep(FACT, at=datetime(1969, 12, 28, 23, 59, 59, 999_999, tzinfo=UTC))
    assert counts(aggregates.read_series(ANY, Bucket.WEEK, Dimension.ALL)) == {("1969-12-22T00:00", None): 1}


@both
@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
def test_a_night_when_clocks_are_set_has_no_missing_and_no_double_hour(
    aggregates: AggregateStore, keep: Keep, night: str
) -> None:
    begin = datetime.fromisoformat(f"{night}T00:00:00Z")
    for hour in range(4):
        keep(FACT, at=begin + timedelta(hours=hour, minutes=30))
    found = counts(aggregates.read_series(ANY, Bucket.HOUR, Dimension.ALL))
    assert found == {(f"{night}T0{hour}:00", None): 1 for hour in range(4)}
    assert counts(aggregates.read_series(ANY, Bucket.DAY, Dimension.ALL)) == {(f"{night}T00:00", None): 4}


@both
def test_a_series_is_split_by_what_scores_are(aggregates: AggregateStore, keep: Keep) -> None:
    keep(FACT, CLAIM, STORY, STORY, SHORT, "Чому так вийшло?", source="wire")
    keep("中文没有人", version="tiny-2")
    found = {
        dimension: {group: n for (_, group), n in counts(aggregates.read_series(ANY, Bucket.DAY, dimension)).items()}
        for dimension in Dimension
        if dimension is not Dimension.REASON
    }
    assert found == {
        Dimension.ALL: {None: 7},
        Dimension.LABEL: {"factual_report": 1, "allegation": 1, "likely_disinformation_narrative": 2, "none": 3},
        Dimension.LANGUAGE: {"en": 3, "uk": 2, "ru": 1, None: 1},
        Dimension.SOURCE: {"wire": 6, None: 1},
        Dimension.MODEL_VERSION: {"tiny-1": 6, "tiny-2": 1},
    }


@both
def test_a_tally_knows_labels_confidence_and_disputes(
    database: Database, aggregates: AggregateStore, keep: Keep
) -> None:
    first, second, _ = keep(FACT, FACT, SHORT)
    feedback = FeedbackStore(database)
    for reviewer in ("a", "b"):
        feedback.keep(NewFeedback(first.id, Outcome.ALLEGATION, reviewer=reviewer))
    feedback.keep(NewFeedback(second.id, Outcome.FACTUAL_REPORT))
    (tally,) = aggregates.read_series(ANY, Bucket.DAY, Dimension.ALL).cells.values()
    assert (tally.n, tally.n_labelled, tally.n_scored, tally.n_disputed) == (3, 2, 2, 1)
    assert tally.mean_confidence == pytest.approx(0.7)
    assert aggregates.read_totals(ANY).values[Dimension.LABEL, "factual_report"].tally.n_disputed == 1


@both
@pytest.mark.parametrize(
    ("chosen", "n"),
    [
        (ScoreFilter(since=START, until=START + timedelta(days=1)), 3),
        (ScoreFilter(since=START + timedelta(days=1)), 2),
        (ScoreFilter(label="none"), 1),
        (ScoreFilter(label="allegation", source="wire"), 1),
        (ScoreFilter(source="Wire"), 0),
        (ScoreFilter(reason="too_short", language="en"), 1),
        (ScoreFilter(model_version="tiny-2", min_confidence=0.7), 2),
        (ScoreFilter(max_confidence=0.6), 0),
        (ScoreFilter(author="nobody"), 0),
        (ScoreFilter(batch_id=uuid4()), 0),
        (ScoreFilter(is_disputed=False), 5),
        (ScoreFilter(is_disputed=True), 0),
    ],
)
def test_what_is_counted_is_what_is_listed(
    store: ScoreStore, aggregates: AggregateStore, keep: Keep, chosen: ScoreFilter, n: int
) -> None:
    keep(FACT, CLAIM, SHORT, source="wire")
    keep(FACT, STORY, at=START + timedelta(days=1), version="tiny-2")
    assert len(store.list_scores(chosen, limit=10)) == n
    assert sum(tally.n for tally in aggregates.read_series(chosen, Bucket.DAY, Dimension.SOURCE).cells.values()) == n
    totals = aggregates.read_totals(chosen).values
    for dimension in Dimension:
        assert sum(total.tally.n for (found, _), total in totals.items() if found is dimension) == n


@both
def test_less_frequent_sources_are_one(database: Database, aggregates: AggregateStore, keep: Keep) -> None:
    for number in range(MAX_SOURCES + 3):
        new = keep(*[FACT] * (2 if number < MAX_SOURCES else 1), source=f"source {number:02}")
    keep(FACT, at=START + timedelta(days=1))
    FeedbackStore(database).keep(NewFeedback(new[0].id, Outcome.ALLEGATION))
    series = aggregates.read_series(ANY, Bucket.DAY, Dimension.SOURCE)
    found = {group: tally for (_, group), tally in series.cells.items()}
    assert (len(found), found[None].n, found[OTHER_SOURCES].n, found["source 07"].n) == (MAX_SOURCES + 2, 1, 3, 2)
    assert [group for group, tally in found.items() if tally.n_disputed] == [OTHER_SOURCES]
    totals = aggregates.read_totals(ANY)
    other = totals.values[Dimension.SOURCE, OTHER_SOURCES]
    assert (other.tally.n, other.tally.n_disputed, other.first_at, other.last_at) == (3, 1, START, START)
    assert (series.has_other, totals.has_other) == (True, True)
    few = ScoreFilter(source="source 07")
    assert not aggregates.read_series(few, Bucket.DAY, Dimension.SOURCE).has_other
    assert not aggregates.read_totals(few).has_other


@both
def test_models_of_one_version_are_one_group(aggregates: AggregateStore, store: ScoreStore, clock: Clock) -> None:
    for digest in "ab":
        new = [NewScore(uuid4(), None, Tags(), FACT, TinyScorer().score_statements([FACT])[0])]
        store.keep_statements(new, replace(INFO, bundle_digest=digest * 64), uuid4())
        clock.time += timedelta(hours=1)
    assert [t.n for t in aggregates.read_series(ANY, Bucket.DAY, Dimension.MODEL_VERSION).cells.values()] == [2]
    total = aggregates.read_totals(ANY).values[Dimension.MODEL_VERSION, "tiny-1"]
    assert (total.tally.n, total.first_at, total.last_at) == (2, START, START + timedelta(hours=1))


@both
def test_nothing_is_counted_as_nothing(aggregates: AggregateStore) -> None:
    assert aggregates.read_series(ANY, Bucket.HOUR, Dimension.SOURCE).cells == {}
    assert aggregates.read_totals(ANY).values == {}


def test_a_series_of_too_many_cells_is_refused(database: Database, aggregates: AggregateStore, keep: Keep) -> None:
    keep(FACT)
    copy_scores(database, MAX_CELLS, apart=timedelta(hours=1))
    with pytest.raises(TooManyCellsError):
        aggregates.read_series(ANY, Bucket.HOUR, Dimension.ALL)
    by_day = aggregates.read_series(ANY, Bucket.DAY, Dimension.ALL).cells
    assert sum(tally.n for tally in by_day.values()) == MAX_CELLS + 1


def copy_scores(database: Database, n_rows: int, *, apart: timedelta) -> None:
    """Keep copies of the one score that there is, each so much later than the one before."""
    with database.writing() as connection:
        row = dict(connection.execute(select(scores)).one()._mapping)
        del row["seq"]
        copies = [row | {"id": uuid4(), "scored_at": START + apart * number} for number in range(1, n_rows + 1)]
        connection.execute(insert(scores), copies)


@pytest.mark.parametrize("dimension", [Dimension.ALL, Dimension.LABEL, Dimension.SOURCE, Dimension.MODEL_VERSION])
@pytest.mark.parametrize(
    "chosen",
    [
        ANY,
        ScoreFilter(since=START, until=START + timedelta(days=1)),
        ScoreFilter(label="allegation"),
        ScoreFilter(source="wire", language="en", reason="too_short"),
        ScoreFilter(since=START, source="wire", min_confidence=0.5),
        ScoreFilter(until=START, model_version="tiny-1"),
    ],
)
def test_counting_reads_the_covering_index_and_nothing_else(
    database: Database, chosen: ScoreFilter, dimension: Dimension
) -> None:
    for query in (series_query(chosen, Bucket.DAY, dimension), totals_query(chosen)):
        steps = [step for step in plan(database, query) if " scores" in step]
        assert steps
        assert all("scores USING COVERING INDEX ix_scores_aggregates" in step for step in steps)


def test_disputes_are_counted_beginning_at_the_feedback(database: Database) -> None:
    steps = plan(database, series_query(ScoreFilter(is_disputed=True), Bucket.DAY, Dimension.LABEL))
    assert "SEARCH scores USING INTEGER PRIMARY KEY (rowid=?)" in steps


def test_a_span_of_time_is_listed_without_sorting_it(database: Database, keep: Keep) -> None:
    keep(FACT)
    with database.reading() as connection:
        seen: list[str] = []
        connection.connection.driver_connection.set_trace_callback(seen.append)  # type: ignore[union-attr]
        read_scores(connection, ScoreFilter(since=START), limit=5, span=(1, 9))
        connection.connection.driver_connection.set_trace_callback(None)  # type: ignore[union-attr]
        steps = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {seen[-1]}")]
    assert steps[0].startswith("SEARCH scores USING INTEGER PRIMARY KEY")
    assert not any("TEMP B-TREE" in step for step in steps)


@both
def test_a_stream_ends_where_it_began_although_more_is_kept(database: Database, store: ScoreStore, keep: Keep) -> None:
    keep(FACT)
    copy_scores(database, STREAM_ROWS + 5, apart=timedelta(seconds=1))
    stream = store.stream_scores(ScoreFilter(since=START))
    portions = [next(stream)]
    keep(CLAIM, at=START + timedelta(days=1))
    portions += list(stream)
    assert [len(portion) for portion in portions] == [STREAM_ROWS, 6]
    seqs = [stored.seq for portion in portions for stored in portion]
    assert seqs == sorted(set(seqs), reverse=True)
    assert {stored.text for portion in portions for stored in portion} == {FACT}


@both
@pytest.mark.parametrize(("limit", "expected"), [(1, [1]), (STREAM_ROWS + 1, [STREAM_ROWS, 1])])
def test_a_stream_ends_at_its_limit(
    database: Database, store: ScoreStore, keep: Keep, limit: int, expected: list[int]
) -> None:
    keep(FACT)
    copy_scores(database, STREAM_ROWS + 5, apart=timedelta())
    assert [len(portion) for portion in store.stream_scores(ANY, limit=limit)] == expected


@both
def test_a_clock_that_was_set_back_loses_nothing_from_a_span_of_time(store: ScoreStore, keep: Keep) -> None:
    for hour in (5, 1, 9, 3):
        keep(f"The court met at {hour} sharp.", at=START + timedelta(hours=hour))
    chosen = ScoreFilter(since=START + timedelta(hours=1), until=START + timedelta(hours=5))
    assert [s.text[17] for s in store.list_scores(chosen, limit=10)] == ["3", "1"]
    assert store.list_scores(ScoreFilter(since=START + timedelta(days=9)), limit=10) == []
