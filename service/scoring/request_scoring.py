"""Waits for scores on behalf of one request: as long as it may, and no longer than anybody is there to read them."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Header, Request
from starlette.types import Receive

from credence.documents import join_document
from credence.scoring import DocumentScore, ModelInfo, StatementScore
from service.door.addresses import to_caller
from service.door.auth import CALLER_KEY, Caller
from service.door.rate_limits import Quota, document_cost, get_quota
from service.errors import ClientGoneError, Fault, ProblemType, RefusedRequestError
from service.metrics import Metrics
from service.middleware import FACTS_KEY, RequestFacts
from service.scoring.pool import LateError, PoolStoppedError, ScoringPool
from service.scoring.statement_queue import CallerFullError, Job, Place, QueueFullError
from service.settings import Settings

STATE_KEY: Final = "scoring"
TIMEOUT_HEADER: Final = "X-Credence-Timeout-Ms"
_MAX_TIMEOUT_DIGITS: Final = 9
_RETRY_AFTER_STOP: Final = 5
TimeoutMilliseconds = Annotated[
    str | None,
    Header(
        alias=TIMEOUT_HEADER,
        description="How many milliseconds the scores are waited for; the service has a limit of its own.",
        json_schema_extra={"anyOf": [{"type": "string", "pattern": "^[1-9][0-9]{0,8}$"}, {"type": "null"}]},
    ),
]
_Waited = TypeVar("_Waited")


@dataclass(frozen=True, slots=True)
class ScoredStatements:
    """The scores of a list of statements, and the one model that made all of them."""

    scores: list[StatementScore]
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """The score of a document, and the one model that made it."""

    document: DocumentScore
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class ScoringAccess:
    """What every request needs to have something scored."""

    pool: ScoringPool
    metrics: Metrics
    settings: Settings


class RequestScoring:
    """Scores for one request, at the cost of the caller's quota.

    Every method raises ``RefusedRequestError``, ``QuotaExceededError`` and ``ClientGoneError``.
    """

    def __init__(
        self,
        access: ScoringAccess,
        facts: RequestFacts,
        receive: Receive,
        *,
        caller: str,
        quota: Quota,
        wait_seconds: float,
    ) -> None:
        self._pool = access.pool
        self._metrics = access.metrics
        self._settings = access.settings
        self._facts = facts
        self._receive = receive
        self._caller = caller
        self._quota = quota
        self._wait_seconds = wait_seconds
        self._deadline = monotonic() + wait_seconds

    async def score_statements(self, texts: Sequence[str], languages: Sequence[str | None]) -> ScoredStatements:
        """Score a list of statements when their turns come."""
        with self._admitted() as wait_seconds:
            place = self._pool.admit_statements(self._caller, texts, wait_seconds=wait_seconds)
        self._charge(len(texts), place)
        return await self._score(place, texts, languages)

    async def score_document(self, text: str, language: str | None) -> ScoredDocument:
        """Split a document into statements, and score them when their turns come."""
        with self._admitted() as wait_seconds:
            place = self._pool.admit_document(self._caller, text, wait_seconds=wait_seconds)
        self._charge(document_cost(text), place)
        try:
            started = perf_counter()
            pieces = await self._wait_for(self._pool.split(text, language))
            self._facts.add_stage("tokenise", perf_counter() - started)
        except BaseException:
            self._pool.give_back(place)
            raise
        scored = await self._score(place, [p.text for p in pieces], [p.language for p in pieces])
        return ScoredDocument(join_document(pieces, scored.scores, scored.info), scored.info)

    def _charge(self, cost: int, place: Place) -> None:
        # Only now: what the service has no room for costs nothing.
        try:
            self._quota.charge(cost)
        except BaseException:
            self._pool.give_back(place)
            raise

    @contextmanager
    def answering(self, n_statements: int, *, is_kept: bool) -> Iterator[None]:
        """Measure how long it takes to keep what was scored, and count it as kept or not."""
        started = perf_counter()
        yield
        seconds = perf_counter() - started
        self._metrics.count_kept(n_statements, is_kept=is_kept)
        self._facts.add_stage("store", seconds if is_kept else 0.0)
        if is_kept:
            self._metrics.observe_store(seconds)

    async def _score(self, place: Place, texts: Sequence[str], languages: Sequence[str | None]) -> ScoredStatements:
        job = self._pool.submit(place, texts, languages)
        info = job.scorer.info
        self._facts.n_statements = len(texts)
        self._facts.model_version = info.model_version
        try:
            return ScoredStatements(await self._wait_for(job.future), info)
        finally:
            self._pool.drop(job)
            self._note_stages(job)

    def _note_stages(self, job: Job) -> None:
        self._facts.add_stage("queue", (job.taken_at or monotonic()) - job.queued_at)
        self._facts.add_stage("tokenise", job.tokenise_seconds)
        self._facts.add_stage("infer", job.infer_seconds)

    async def _wait_for(self, future: "Future[_Waited]") -> _Waited:
        waited = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_wait_until_gone(self._receive))
        either: set[asyncio.Future[Any]] = {waited, gone}
        try:
            seconds = max(0.0, self._deadline - monotonic())
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waited.done():
                return waited.result()
            if gone.done():
                self._metrics.count_unscored("client-gone")
                raise ClientGoneError
            detail = f"No scores within {self._wait_seconds:g} seconds, so nothing was kept. Try again, or wait longer."
            raise self._refused(ProblemType.DEADLINE_EXCEEDED, detail)
        except PoolStoppedError:
            detail = "The service stops before these statements were scored; nothing was kept. Try again."
            raise self._refused(ProblemType.STOPPING, detail, seconds=_RETRY_AFTER_STOP) from None
        finally:
            gone.cancel()
            waited.cancel()

    @contextmanager
    def _admitted(self) -> Iterator[float]:
        try:
            yield self._deadline - monotonic()
        except CallerFullError:
            n_max = self._settings.max_waiting_per_caller
            detail = f"{n_max} statements of yours or more wait already: send further ones when those are answered."
            raise self._refused(ProblemType.TOO_MANY_IN_FLIGHT, detail) from None
        except QueueFullError:
            detail = f"{self._pool.n_waiting} statements wait already, and no more may. Try again later."
            raise self._refused(ProblemType.OVERLOADED, detail) from None
        except LateError as error:
            detail = (
                f"What waits already takes about {error.seconds:.1f} seconds, "
                f"and this request waits no longer than {self._wait_seconds:g}. Try again later."
            )
            raise self._refused(ProblemType.OVERLOADED, detail) from None

    def _refused(self, problem: ProblemType, detail: str, *, seconds: float | None = None) -> RefusedRequestError:
        self._metrics.count_unscored(problem.slug)
        retry_after = max(1, math.ceil(self._pool.seconds_of_work if seconds is None else seconds))
        return RefusedRequestError([Fault(problem, detail)], retry_after_seconds=retry_after)


async def get_request_scoring(request: Request, timeout: TimeoutMilliseconds = None) -> RequestScoring:
    """Return what has statements scored for a request."""
    access: ScoringAccess = getattr(request.state, STATE_KEY)
    facts: RequestFacts = getattr(request.state, FACTS_KEY)
    wait_seconds = access.settings.max_wait_seconds
    if timeout is not None:
        wait_seconds = min(wait_seconds, _read_timeout(timeout) / 1000)
    caller, quota = _name_caller(request), await get_quota(request)
    return RequestScoring(access, facts, request.receive, caller=caller, quota=quota, wait_seconds=wait_seconds)


Scoring = Annotated[RequestScoring, Depends(get_request_scoring)]


def _read_timeout(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= _MAX_TIMEOUT_DIGITS and int(value) > 0):
        detail = f"{TIMEOUT_HEADER} must be a whole number of milliseconds above 0, in at most 9 digits."
        raise RefusedRequestError([Fault(ProblemType.INVALID_HEADER, detail)])
    return int(value)


def _name_caller(request: Request) -> str:
    caller: Caller | None = getattr(request.state, CALLER_KEY, None)
    if caller is not None and caller.key_prefix is not None:
        return f"key {caller.key_prefix}"
    return to_caller(request.client.host if request.client else "")


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
