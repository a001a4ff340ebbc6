"""Both clients, with the same tests: against a real server, and against one that follows a script."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from credence.client import (
    AsyncCredenceClient,
    CredenceApiError,
    CredenceClient,
    RetryPolicy,
    ServiceUnreachableError,
    Statement,
    UnexpectedAnswerError,
)
from credence.client.attempts import read_retry_after
from credence.labels import DISCLAIMER, Outcome, Reason
from credence.scoring import Rollup, StatementScore
from service.door.api_keys import Scope
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from service.store.key_store import KeyStore
from tests.service.happenings import happen
from tests.service.test_events import serving

TEXTS = ["The court met on Monday.", "The mayor claims that it rained.", "They secretly rule us all.", "Why not?"]
KINDS = ("blocking", "asyncio")


class Awaited:
    """The client for asyncio, used as if it waited: every test then holds for both."""

    def __init__(self, **options: Any) -> None:
        self._runner = asyncio.Runner()
        if "sleep" in options:
            options["sleep"] = self._sleeping(options["sleep"])
        self._client = AsyncCredenceClient(**options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **given: Any) -> Any:
            found = getattr(self._client, name)(*arguments, **given)
            return self._iterate(found) if hasattr(found, "__anext__") else self._runner.run(found)

        return call

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def _iterate(self, found: Any) -> Iterator[Any]:
        async def step() -> Any:
            return await found.__anext__()

        try:
            while True:
                try:
                    item = self._runner.run(step())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self._runner.run(found.aclose())

    @staticmethod
    def _sleeping(sleep: Callable[[float], None]) -> Callable[[float], Any]:
        async def wait(seconds: float) -> None:
            sleep(seconds)

        return wait


@pytest.fixture(params=KINDS)
def build(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(**options: Any) -> Any:
        if request.param == "asyncio":
            made.append(Awaited(**{"transport": httpx.AsyncHTTPTransport(), **options}))
        else:
            made.append(CredenceClient(**{"transport": httpx.HTTPTransport(), **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def port(settings: Settings, served_model: ServedModel, database: Database) -> Iterator[int]:
    with serving(settings, served_model, database) as (_, port):
        yield port


@pytest.fixture
def client(build: Callable[..., Any], port: int) -> Any:
    return build(base_url=f"http://127.0.0.1:{port}")


def test_statements_are_scored_with_their_tags_and_come_back_as_values(client: Any) -> None:
    result = client.score([TEXTS[0], Statement(TEXTS[1], id="b", source="Radio")], source="Desk", document_id="d")
    assert [(row.id, row.score.label) for row in result.results] == [(None, "factual_report"), ("b", "allegation")]
    assert all(isinstance(row.score, StatementScore) for row in result.results)
    assert result.results[0].score.scores[Outcome.FACTUAL_REPORT] == pytest.approx(0.7)
    assert (result.model.model_version, result.stored, result.disclaimer) == ("tiny-1", True, DISCLAIMER)
    assert result.results[0].disclaimer == DISCLAIMER
    kept = [client.read_score(row.score_id) for row in result.results]
    assert [(row.source, row.document_id, row.text) for row in kept] == [
        ("Desk", "d", TEXTS[0]),
        ("Radio", "d", TEXTS[1]),
    ]
    assert kept[0].scores == result.results[0].score.scores
    assert (kept[0].prediction_set, kept[0].disclaimer) == ((Outcome.FACTUAL_REPORT,), DISCLAIMER)
    assert kept[0].scored_at.tzinfo is not None


def test_what_is_not_to_be_kept_is_not(client: Any) -> None:
    result = client.score(TEXTS, store=False)
    assert not result.stored
    assert {row.score_id for row in result.results} == {None}
    assert list(client.list_scores()) == []


def test_a_document_comes_back_with_its_statements_and_roll_up(client: Any) -> None:
    text = " ".join(TEXTS)
    result = client.score_document(text, id="x", language="en")
    assert [text[row.score.start_char : row.score.end_char] for row in result.statements] == TEXTS
    assert isinstance(result.rollup, Rollup)
    assert result.rollup.reason_counts[Reason.TOO_SHORT] == 1
    assert (result.id, isinstance(result.stored_document_id, UUID)) == ("x", True)
    client.delete_document(str(result.stored_document_id))
    assert list(client.list_scores()) == []


def test_lists_go_on_over_pages_and_filters_hold_for_all(client: Any) -> None:
    client.score(TEXTS * 2, source="Desk")
    client.score(TEXTS[:1], source="Radio")
    assert [row.text for row in client.list_scores(page_size=3, source="Desk")] == (TEXTS * 2)[::-1]
    assert [row.text for row in client.list_scores(label="none")] == [TEXTS[3]] * 2
    assert [row.scores for row in client.list_scores(label="none")] == [None] * 2
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert (len(list(client.list_scores(until=later))), list(client.list_scores(since=later))) == (9, [])
    with pytest.raises(ValueError, match="zone"):
        list(client.list_scores(since=datetime(2026, 3, 1)))
    assert client.delete_scores(source="Desk") == 8


def test_a_score_is_traced_disputed_counted_and_deleted(client: Any) -> None:
    score_id = client.score(TEXTS[:1]).results[0].score_id
    assert client.lineage(score_id).model.data_digests == {"statements": "s" * 64}
    said = client.feedback(score_id, "allegation", reason="Hearsay.", reviewer="Ira")
    assert (said.score_id, said.proposed_label, said.is_dispute) == (score_id, Outcome.ALLEGATION, True)
    assert client.read_score(score_id).is_disputed
    series = client.timeseries("hour", group_by="label", fill=True)
    assert [(row.group, row.n, row.n_disputed) for row in series.rows] == [("factual_report", 1, 1)]
    assert series.rows[0].time.tzinfo is not None
    counts = client.summary(label="factual_report")
    assert (counts.rows[0].dimension, counts.rows[0].n, counts.disclaimer) == ("all", 1, DISCLAIMER)
    client.delete_score(score_id)
    with pytest.raises(CredenceApiError, match="404") as refusal:
        client.read_score(score_id)
    assert refusal.value.type == "urn:credence:problem:no-such-record"


def test_the_model_is_described(client: Any) -> None:
    described = client.model()
    assert (described.version, described.card) == ("tiny-1", "# A tiny model\n")
    assert described.outcomes == tuple(Outcome)


def test_a_problem_is_raised_with_its_fields_and_without_the_text(client: Any) -> None:
    with pytest.raises(CredenceApiError) as refusal:
        client.score(["CANARY \0", ""])
    error = refusal.value
    assert (error.status, error.pointer) == (422, "/statements/0/text")
    assert error.type == "urn:credence:problem:text-control-character"
    assert UUID(error.request_id or "")
    assert error.title
    assert "CANARY" not in f"{error} {error.detail}"


@pytest.mark.parametrize("as_file", [True, False])
def test_a_batch_is_sent_waited_for_and_fetched(client: Any, tmp_path: Path, as_file: bool) -> None:
    rows = [*({"id": n, "text": text} for n, text in enumerate(TEXTS)), {"id": "bad", "text": ""}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    file = path if as_file else io.BytesIO(path.read_bytes())
    batch = client.submit_batch(file, format=None if as_file else "jsonl", source="Desk")
    batch = client.wait_batch(batch.id, poll_seconds=0.05, timeout_seconds=60)
    assert (batch.state, batch.n_rows, batch.n_error_rows, batch.has_ended) == ("done", 5, 1, True)
    results = list(client.batch_results(batch.id))
    assert [row.id for row in results] == [0, 1, 2, 3, "bad"]
    assert results[1].score.label == "allegation"
    assert client.read_score(results[1].score_id).source == "Desk"
    assert (results[4].score, results[4].error.line, results[4].disclaimer) == (None, 5, DISCLAIMER)


def test_a_file_whose_format_is_not_known_is_not_sent(client: Any) -> None:
    for file in (Path("rows.txt"), io.BytesIO(b"")):
        with pytest.raises(ValueError, match="jsonl"):
            client.submit_batch(file)
    with pytest.raises(ValueError, match="UUID"):
        client.delete_score("../documents")


def test_events_are_heard_from_where_they_were_left(client: Any, database: Database) -> None:
    for number in range(3):
        happen(database, "batch", number=number)
    events = client.events(["batch"], last_event_id="1")
    heard = [next(events), next(events)]
    happen(database, "batch", number=3)
    heard.append(next(events))
    events.close()
    assert [(event.id, event.kind, event.data["number"]) for event in heard] == [
        ("2", "batch", 1),
        ("3", "batch", 2),
        ("4", "batch", 3),
    ]


def test_a_key_is_sent_and_shown_to_nobody(
    build: Callable[..., Any], served_model: ServedModel, database: Database
) -> None:
    _, token = KeyStore(database).create("Newsroom", [Scope.SCORE])
    with serving(Settings(require_keys=True), served_model, database) as (_, port):
        url = f"http://127.0.0.1:{port}"
        assert build(base_url=url, api_key=token.text).score(TEXTS).stored
        with pytest.raises(CredenceApiError) as refusal:
            build(base_url=url, api_key=token.text).summary()
    assert refusal.value.status == 403
    assert token.secret not in str(refusal.value)


class Script(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Gives the answers of a list, one a request, and keeps what was asked; a fault is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[httpx.Request, bytes]] = []
        self.waits: list[float] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx.Request, body: bytes) -> httpx.Response:
        self.asked.append((request, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def keys(self) -> list[str | None]:
        return [request.headers.get("idempotency-key") for request, _ in self.asked]


def busy(status: int = 503, **headers: str) -> httpx.Response:
    problem = {"type": "urn:credence:problem:overloaded", "title": "Busy", "status": status, "detail": "Later."}
    return httpx.Response(status, json=problem, headers={k.replace("_", "-"): v for k, v in headers.items()})


def summary() -> httpx.Response:
    return httpx.Response(200, json={"rows": [], "has_other": False, "disclaimer": DISCLAIMER})


@pytest.fixture
def scripted(build: Callable[..., Any]) -> Callable[..., Any]:
    def make(script: Script, **options: Any) -> Any:
        return build(transport=script, sleep=script.waits.append, **options)

    return make


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_comes_when_the_service_asks_for_it(scripted: Callable[..., Any], status: int) -> None:
    script = Script(busy(status, retry_after="7"), busy(status, retry_after="2"), summary())
    assert scripted(script).summary().disclaimer == DISCLAIMER
    assert script.waits == [7, 2]


def test_connection_faults_are_tried_again_after_ever_longer_waits(scripted: Callable[..., Any]) -> None:
    script = Script(httpx.ConnectError("no"), httpx.ReadTimeout("no"), httpx.RemoteProtocolError("no"), summary())
    scripted(script).summary()
    for wait, longest in zip(script.waits, (0.5, 1.0, 2.0), strict=True):
        assert longest / 2 <= wait <= longest


def test_scoring_is_repeated_under_one_key(scripted: Callable[..., Any]) -> None:
    script = Script(httpx.ReadTimeout("no"), busy(retry_after="1"), httpx.Response(422, json={}))
    with pytest.raises(CredenceApiError, match="422"):
        scripted(script).score(TEXTS)
    assert len(set(script.keys())) == 1
    assert UUID(script.keys()[0] or "")
    other = Script(httpx.Response(422, json={}))
    with pytest.raises(CredenceApiError):
        scripted(other).score(TEXTS, idempotency_key="mine")
    assert other.keys() == ["mine"]


@pytest.mark.parametrize("ask", [lambda c: c.feedback(uuid4(), "allegation"), lambda c: c.delete_score(uuid4())])
@pytest.mark.parametrize(
    ("answer", "error"),
    [(busy, CredenceApiError), (lambda: httpx.ConnectError("no"), ServiceUnreachableError)],
    ids=["busy", "away"],
)
def test_what_could_be_done_twice_is_tried_once(
    scripted: Callable[..., Any], ask: Callable[[Any], Any], answer: Callable[[], Any], error: type[Exception]
) -> None:
    script = Script(answer())
    with pytest.raises(error):
        ask(scripted(script))
    assert (len(script.asked), script.waits) == (1, [])


def test_attempts_come_to_an_end(scripted: Callable[..., Any]) -> None:
    script = Script(busy(retry_after="0"))
    with pytest.raises(CredenceApiError, match="503"):
        scripted(script, retries=RetryPolicy(max_attempts=3)).summary()
    assert len(script.asked) == 3
    fault = Script(httpx.ConnectError("CANARY"))
    with pytest.raises(ServiceUnreachableError, match="ConnectError") as error:
        scripted(fault, retries=RetryPolicy(max_attempts=2)).summary()
    assert "CANARY" not in str(error.value)


def test_a_wait_that_is_longer_than_there_is_time_is_not_begun(scripted: Callable[..., Any]) -> None:
    script = Script(busy(429, retry_after="3600"), summary())
    with pytest.raises(CredenceApiError, match="429"):
        scripted(script).summary()
    assert script.waits == []


@pytest.mark.parametrize("status", [400, 404, 422, 500, 502])
def test_other_refusals_are_not_tried_again(scripted: Callable[..., Any], status: int) -> None:
    script = Script(httpx.Response(status, text="<html>"))
    with pytest.raises(CredenceApiError) as refusal:
        scripted(script).summary()
    assert (refusal.value.status, refusal.value.type, len(script.asked)) == (status, "about:blank", 1)


def test_a_file_is_sent_again_from_its_beginning_and_a_stream_only_once(scripted: Callable[..., Any]) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    file = io.BytesIO(b"not this|id,text\n")
    file.seek(9)
    script = Script(busy(retry_after="0"), httpx.Response(422, json={}))
    with pytest.raises(CredenceApiError, match="422"):
        scripted(script).submit_batch(file, format="csv", encoding="windows-1251")
    assert [body for _, body in script.asked] == [b"id,text\n"] * 2
    assert script.asked[0][0].headers["content-type"] == "text/csv; charset=windows-1251"
    once = Script(busy(retry_after="0"))
    with pytest.raises(CredenceApiError, match="503"):
        scripted(once).submit_batch(Pipe(b"id,text\n"), format="csv")
    assert len(once.asked) == 1


@pytest.mark.parametrize("content", ["<html>", "[]", '{"rows": [{"n": "x"}], "has_other": false}', "{}"])
def test_an_answer_that_cannot_be_read_is_said_to_be_one(scripted: Callable[..., Any], content: str) -> None:
    with pytest.raises(UnexpectedAnswerError):
        scripted(Script(httpx.Response(200, text=content))).summary()


def test_what_a_later_service_adds_is_passed_over(scripted: Callable[..., Any]) -> None:
    answer = {"rows": [], "has_other": False, "disclaimer": DISCLAIMER, "new": 1}
    assert scripted(Script(httpx.Response(200, json=answer))).summary().rows == ()


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream that breaks off after its pieces."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from (piece.encode() for piece in self.pieces)
        raise httpx.ReadError("cut")

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece


def test_a_stream_that_breaks_off_is_resumed_without_a_loss(scripted: Callable[..., Any]) -> None:
    def stream(*pieces: str) -> httpx.Response:
        return httpx.Response(200, stream=Broken(*pieces))

    hello = 'event: hello\ndata: {"last_event_id": "9"}\nid: 4\nretry: 250\n\n'
    script = Script(
        stream(hello, 'event: batch\ndata: {"n": 1}\nid: 5\n\nid: 6\n\n', 'event: batch\ndata: {"n": 2}\nid: 7\n'),
        busy(retry_after="1"),
        stream(hello, 'event: batch\ndata: {"n": 2}\nid: 7\n\n'),
        stream(hello, 'event: gap\ndata: {"detail": "x"}\n\n'),
    )
    events = scripted(script).events()
    heard = [next(events) for _ in range(3)]
    events.close()
    assert [(event.kind, event.data, event.id) for event in heard] == [
        ("batch", {"n": 1}, "5"),
        ("batch", {"n": 2}, "7"),
        ("gap", {"detail": "x"}, "4"),
    ]
    assert [request.headers.get("last-event-id") for request, _ in script.asked] == [None, "6", "6", "7"]
    assert script.waits == [0.25, 1, 0.25]


def test_results_that_break_off_are_not_taken_for_all(scripted: Callable[..., Any]) -> None:
    line = '{"id": "a", "error": {"kind": "empty", "message": "Empty."}, "line": 1}\n'
    results = scripted(Script(httpx.Response(200, stream=Broken(line)))).batch_results(uuid4())
    assert next(results).id == "a"
    with pytest.raises(ServiceUnreachableError):
        next(results)


def test_a_redirect_takes_the_key_nowhere(scripted: Callable[..., Any]) -> None:
    script = Script(httpx.Response(302, headers={"location": "https://elsewhere.example/"}), summary())
    with pytest.raises(UnexpectedAnswerError):
        scripted(script, api_key="cred_x").summary()
    assert len(script.asked) == 1


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert read_retry_after("12") == 12
    soon = read_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert soon is not None
    assert 25 < soon <= 30
    assert read_retry_after(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0
    assert [read_retry_after(value) for value in (None, "", "soon", "-1", "1.5")] == [None] * 5


def test_a_url_that_is_none_is_refused_at_once(build: Callable[..., Any]) -> None:
    urls: Sequence[str] = ("localhost:8000", "ftp://host")
    for url in urls:
        with pytest.raises(ValueError, match="http"):
            build(base_url=url)
