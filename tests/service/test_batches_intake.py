"""What is not taken in as a batch leaves nothing behind."""

import errno
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from service.app import create_app
from service.batches.intake import BatchIntake
from service.batches.spool import BatchSpool
from service.errors import ProblemType, RefusedRequestError
from service.models.source import ServedModel
from service.settings import Settings
from service.store.batch_records import Batch, NewBatch
from service.store.database import Database, StorageUnavailableError
from tests.service.batch_calls import NDJSON, rows_of, uploads
from tests.service.batch_shop import Shop


@pytest.mark.parametrize(
    ("media_type", "content", "query", "status", "slug"),
    [
        ("application/json", b"[]", "", 415, "unsupported-row-format"),
        ("text/csv; charset=ebcdic", b"id,text\n", "", 415, "unsupported-row-format"),
        ("text/csv", b"id,body\nSECRETWORD,x\n", "", 422, "invalid-row-file"),
        ("text/csv", b"PK\x03\x04SECRETWORD", "", 422, "invalid-row-file"),
        ("application/x-ndjson", b'[{"id": 1, "text": "SECRETWORD"}]', "", 422, "invalid-row-file"),
        ("application/vnd.apache.parquet", b"PAR1SECRETWORD", "", 422, "invalid-row-file"),
        ("application/x-ndjson", b"", "?store=SECRETWORD", 422, "invalid-field"),
        ("application/x-ndjson", b"", "?SECRETWORD=1", 422, "unknown-field"),
        ("application/x-ndjson", b"", "?source=a%00b", 422, "invalid-field"),
        ("application/x-ndjson", b"", "?source=", 422, "invalid-field"),
        ("application/x-ndjson", b" " * 2000, "", 413, "body-too-large"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_and_leaves_nothing(
    served_model: ServedModel,
    database: Database,
    media_type: str,
    content: bytes,
    query: str,
    status: int,
    slug: str,
) -> None:
    settings = Settings(max_batch_bytes=1000)
    with TestClient(create_app(settings, served_model, database)) as client:
        for body in (content, iter([content])):
            response = client.post(f"/v1/batches{query}", content=body, headers={"Content-Type": media_type})
            assert (response.status_code, response.json()["type"]) == (status, f"urn:credence:problem:{slug}")
            assert "SECRETWORD" not in response.text
            assert response.headers["content-type"] == "application/problem+json"
        assert uploads(settings) == []
        assert client.get("/v1/batches").json()["rows"] == []


def test_a_compressed_body_is_refused(client: TestClient) -> None:
    response = client.post("/v1/batches", content=b"x", headers=NDJSON | {"Content-Encoding": "gzip"})
    assert response.json()["type"] == "urn:credence:problem:unsupported-row-format"


def test_an_unusable_key_is_refused(client: TestClient) -> None:
    response = client.post("/v1/batches", content=b"", headers=NDJSON | {"Idempotency-Key": "k" * 201})
    assert (response.status_code, response.json()["type"]) == (422, "urn:credence:problem:invalid-header")


def test_a_full_disk_refuses_a_batch_at_once(
    served_model: ServedModel, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(BatchSpool, "read_free_bytes", lambda spool: 1000)
    with TestClient(create_app(settings, served_model, database)) as client:
        response = client.post("/v1/batches", content=rows_of(10), headers=NDJSON)
        assert (response.status_code, response.json()["type"]) == (507, "urn:credence:problem:insufficient-storage")
    assert uploads(settings) == []


def receive(shop: Shop, body: AsyncIterator[bytes], *, on_entered: Callable[[], None] = lambda: None) -> Batch:
    import anyio

    intake = BatchIntake(shop.store, shop.spool, max_bytes=10**6, on_entered=on_entered)
    new = NewBatch(uuid4(), None, "jsonl", "utf-8", 0, True, None, None, shop.spool.id)

    async def run() -> Batch:
        return (await intake.receive(body, 0, new))[0]

    return anyio.run(run)


async def body_of(*pieces: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


def test_a_client_that_goes_away_leaves_nothing(shop: Shop) -> None:
    with pytest.raises(RefusedRequestError) as refused:
        receive(shop, body_of(b'{"id": 1, ', then=ClientDisconnect()))
    assert [fault.problem for fault in refused.value.faults] == [ProblemType.BODY_INCOMPLETE]
    assert (shop.spool.list_batches(), shop.store.list_batches(limit=1)) == ([], [])


def test_a_disk_that_fills_up_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(batch_id: UUID) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shop.spool, "complete_upload", fill)
    with pytest.raises(RefusedRequestError) as refused:
        receive(shop, body_of(b'{"id": 1, "text": "x"}'))
    assert [fault.problem for fault in refused.value.faults] == [ProblemType.INSUFFICIENT_STORAGE]
    assert (shop.spool.list_batches(), shop.store.list_batches(limit=1)) == ([], [])


def test_a_database_that_is_away_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def be_away(new: NewBatch) -> tuple[Batch, bool]:
        raise StorageUnavailableError("away")

    monkeypatch.setattr(shop.store, "enter", be_away)
    with pytest.raises(StorageUnavailableError):
        receive(shop, body_of(b'{"id": 1, "text": "x"}'))
    assert shop.spool.list_batches() == []


def test_what_is_received_is_on_disk_as_it_was_sent(shop: Shop) -> None:
    told: list[bool] = []
    pieces = [b'{"id": 1, "text": "x"}\n' * 1000] * 40
    batch = receive(shop, body_of(*pieces), on_entered=lambda: told.append(True))
    assert (batch.n_bytes, told) == (len(b"".join(pieces)), [True])
    assert shop.spool.upload_path(batch.id).read_bytes() == b"".join(pieces)
