"""What the client can ask for: each function says what is sent and how its answer is read, for both clients."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, Literal, TypedDict, TypeVar, Unpack
from uuid import UUID, uuid4

from credence.client.answers import (
    Batch,
    DocumentResult,
    Event,
    Feedback,
    KeptScore,
    Lineage,
    ModelDescription,
    ScorePage,
    ScoreResult,
    Series,
    Statement,
    Summary,
    read_answer,
)
from credence.labels import Outcome, Reason

Answer = TypeVar("Answer")
ReadContent = Callable[[Any], Answer]
MEDIA_TYPES: Final = {
    "jsonl": "application/x-ndjson",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
_SAFE: Final = frozenset({"GET"})
# The service says every quarter of a minute that it is still there.
_PING_SECONDS: Final = 45.0


class Filters(TypedDict, total=False):
    """Which kept scores are meant; what is not given does not matter. Times are aware.

    ``label`` may also be ``none``: those without one.
    """

    since: datetime
    until: datetime
    label: Outcome | Literal["none"] | str
    reason: Reason | str
    language: str
    source: str
    author: str
    document_id: str
    model_version: str
    batch_id: UUID | str
    min_confidence: float
    max_confidence: float
    is_disputed: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """The file of a batch, which is read from its beginning at each attempt."""

    file: Path | BinaryIO
    start: int | None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file, or go back to where it began."""
        if isinstance(self.file, Path):
            with self.file.open("rb") as opened:
                yield opened
            return
        if self.start is not None:
            self.file.seek(self.start)
        yield self.file


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request, and how its answer is read. It may be repeated where that does nothing twice."""

    method: str
    path: str
    read: ReadContent[Answer]
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    # For so long at least nothing need arrive.
    silence_seconds: float | None = None

    @property
    def is_repeatable(self) -> bool:
        """Say whether a second attempt does no harm."""
        can_be_read_again = self.upload is None or self.upload.start is not None
        return self.method in _SAFE or ("Idempotency-Key" in self.headers and can_be_read_again)


def score(
    statements: Sequence[str | Statement],
    *,
    language: str | None = None,
    source: str | None = None,
    author: str | None = None,
    document_id: str | None = None,
    store: bool | None = None,
    idempotency_key: str | None = None,
) -> Call[ScoreResult]:
    """Score 1 to 256 statements, in their order. Language and tags hold for those that do not say their own.

    ``store=False`` keeps nothing; without it the service decides. A key is made where none is given.
    """
    common = _given(language=language, source=source, author=author, document_id=document_id)
    rows = [Statement(item) if isinstance(item, str) else item for item in statements]
    body = _given(statements=[{**common, **_given(**asdict(row))} for row in rows], store=store)
    return Call("POST", "/v1/score", _reader(ScoreResult), body=body, headers=_key(idempotency_key))


def score_document(
    text: str,
    *,
    id: str | None = None,
    language: str | None = None,
    source: str | None = None,
    author: str | None = None,
    document_id: str | None = None,
    store: bool | None = None,
    idempotency_key: str | None = None,
) -> Call[DocumentResult]:
    """Split a text into statements and score each; see ``score``."""
    tags = _given(id=id, language=language, source=source, author=author, document_id=document_id, store=store)
    body = {"text": text, **tags}
    return Call("POST", "/v1/documents", _reader(DocumentResult), body=body, headers=_key(idempotency_key))


def model() -> Call[ModelDescription]:
    """Return what is served."""
    return Call("GET", "/v1/model", _reader(ModelDescription))


def read_score(score_id: UUID | str) -> Call[KeptScore]:
    """Return one kept score."""
    return Call("GET", _path("scores", score_id), _reader(KeptScore))


def list_page(cursor: str | None, limit: int, **filters: Unpack[Filters]) -> Call[ScorePage]:
    """Return one page of kept scores, the newest first."""
    query = _query(cursor=cursor, limit=limit, format="json", **filters)
    return Call("GET", "/v1/scores", _reader(ScorePage), query=query)


def lineage(score_id: UUID | str) -> Call[Lineage]:
    """Return where a kept score comes from."""
    return Call("GET", f"{_path('scores', score_id)}/lineage", _reader(Lineage))


def feedback(
    score_id: UUID | str, proposed_label: Outcome | str, *, reason: str | None = None, reviewer: str | None = None
) -> Call[Feedback]:
    """Say what a kept score should have been; ``not_a_claim`` stands for no label. It is never tried twice."""
    body = _given(score_id=str(score_id), proposed_label=str(proposed_label), reason=reason, reviewer=reviewer)
    return Call("POST", "/v1/feedback", _reader(Feedback), body=body)


def timeseries(
    bucket: Literal["hour", "day", "week"] = "day",
    *,
    group_by: Literal["label", "language", "source", "model_version"] | None = None,
    fill: bool = False,
    **filters: Unpack[Filters],
) -> Call[Series]:
    """Count kept scores over time, in UTC; with ``fill`` buckets without scores are rows too."""
    query = _query(bucket=bucket, group_by=group_by, fill=fill, format="json", **filters)
    return Call("GET", "/v1/stats/timeseries", _reader(Series), query=query)


def summary(**filters: Unpack[Filters]) -> Call[Summary]:
    """Count kept scores by every dimension."""
    return Call("GET", "/v1/stats/summary", _reader(Summary), query=_query(format="json", **filters))


def submit_batch(
    file: str | Path | BinaryIO,
    *,
    format: Literal["jsonl", "ndjson", "csv", "parquet"] | None = None,
    encoding: str | None = None,
    source: str | None = None,
    author: str | None = None,
    store: bool | None = None,
    idempotency_key: str | None = None,
) -> Call[Batch]:
    """Have a file of rows scored in the background. Without ``format`` the name of the file says it.

    Raises ``ValueError`` where it does not.
    """
    opened = Path(file) if isinstance(file, str) else file
    name = format or (opened.suffix.lstrip(".").lower() if isinstance(opened, Path) else "")
    if name not in MEDIA_TYPES:
        raise ValueError(f"the format is not known; say format= one of {', '.join(MEDIA_TYPES)}")
    start = 0 if isinstance(opened, Path) else opened.tell() if opened.seekable() else None
    content_type = MEDIA_TYPES[name] + (f"; charset={encoding}" if encoding else "")
    return Call(
        "POST",
        "/v1/batches",
        _reader(Batch),
        query=_query(source=source, author=author, store=store),
        headers={"Content-Type": content_type, **_key(idempotency_key)},
        upload=Upload(opened, start),
    )


def batch(batch_id: UUID | str) -> Call[Batch]:
    """Return how a batch stands."""
    return Call("GET", _path("batches", batch_id), _reader(Batch))


def cancel_batch(batch_id: UUID | str) -> Call[Batch]:
    """End a batch where it stands; what is done can be fetched."""
    return Call("POST", f"{_path('batches', batch_id)}/cancel", _reader(Batch))


def fetch_results(batch_id: UUID | str) -> Call[None]:
    """Fetch the results of a batch, a JSON object a line."""
    return Call("GET", f"{_path('batches', batch_id)}/results", _nothing, query={"format": "jsonl"})


def delete_score(score_id: UUID | str) -> Call[None]:
    """Delete a kept score with its text and feedback."""
    return Call("DELETE", _path("scores", score_id), _nothing)


def delete_document(stored_document_id: UUID | str) -> Call[None]:
    """Delete a kept document with its text, statements and feedback."""
    return Call("DELETE", _path("documents", stored_document_id), _nothing)


def delete_scores(*, source: str | None = None, document_id: str | None = None) -> Call[int]:
    """Delete whatever is kept with a tag, and return how many scores that were; at least one must be given."""
    query = _query(source=source, document_id=document_id)
    return Call("DELETE", "/v1/scores", _read_count, query=query)


def listen(kinds: Sequence[str], label: str | None, last_event_id: str | None) -> Call[None]:
    """Listen to events."""
    return Call(
        "GET",
        "/v1/events",
        _nothing,
        query=_query(kinds=",".join(kinds) or None, label=label),
        headers=_given(**{"Accept": "text/event-stream", "Last-Event-ID": last_event_id}),
        silence_seconds=_PING_SECONDS,
    )


class EventLines:
    """Makes events of the lines of one stream. ``last_id`` is where to resume, ``retry_seconds`` when."""

    def __init__(self, last_id: str | None) -> None:
        self.last_id = last_id
        self.retry_seconds = 3.0
        self._begin()

    def _begin(self) -> None:
        self._id: str | None = self.last_id
        self._kind = ""
        self._data: list[str] = []

    def take(self, line: str) -> Event | None:
        """Take a line in, and return the event that ends with it, if any. Raises ``ValueError``."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self._id = value
        elif name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry" and value.isdecimal():
            self.retry_seconds = int(value) / 1000
        return None if line else self._finish()

    def _finish(self) -> Event | None:
        # Only now: of an event that was cut off the rest comes when the stream is resumed before it.
        self.last_id = self._id
        kind, data = self._kind, self._data
        self._begin()
        # The first says only where the stream begins.
        if not data or kind == "hello":
            return None
        return Event(self.last_id, kind, json.loads("\n".join(data)))


def _reader(kind: type[Answer]) -> ReadContent[Answer]:
    return lambda content: read_answer(kind, content)


def _nothing(content: Any) -> None:
    return None


def _read_count(content: Any) -> int:
    return int(content["n_deleted"])


def _path(resource: str, record_id: UUID | str) -> str:
    # An id that is none could lead to another path.
    return f"/v1/{resource}/{record_id if isinstance(record_id, UUID) else UUID(record_id)}"


def _key(given: str | None) -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4()) if given is None else given}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _query(**values: Any) -> dict[str, str]:
    return {name: _written(value) for name, value in _given(**values).items()}


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("a time must say its zone, as datetime.now(UTC) does")
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)
