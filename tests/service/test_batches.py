"""Batches through the API: what goes in comes out, in its order, once."""

import csv
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER
from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from tests.service.batch_calls import GOOD, NDJSON, enter, results, rows_of, uploads, wait


@pytest.mark.on_both_databases
def test_each_row_has_a_result_in_the_order_of_the_file(client: TestClient, settings: Settings) -> None:
    entered = enter(client, rows_of(1100), "?source=wire")
    assert (entered["stored"], entered["source"], entered["format"]) == (True, "wire", "jsonl")
    done = wait(client, entered)
    assert (done["state"], done["n_rows"], done["n_done_rows"], done["n_error_rows"]) == ("done", 1100, 1100, 0)
    assert (done["share_done"], done["seconds_left"], done["failure"]) == (1.0, None, None)
    found = results(client, done)
    assert [row["id"] for row in found] == list(range(1100))
    assert {row["label"] for row in found} == {"factual_report"}
    assert len({row["score_id"] for row in found}) == 1100
    assert uploads(settings) == []


@pytest.mark.on_both_databases
def test_bad_rows_get_errors_in_their_place(client: TestClient) -> None:
    lines = [
        json.dumps({"id": "a", "text": GOOD}).encode(),
        b'{"id": "b", "text": "cut off',
        b'{"id": "c", "text": ""}',
        b'{"id": "d", "text": "half \\ud800 pair"}',
        b'{"id": "e", "text": "null \\u0000 byte"}',
        b'{"id": "f\\u0000", "text": "Fine as it is"}',
        b'{"id": "g", "text": "Fine as it is", "language": "pl"}',
        b'{"id": "h", "text": "\xcf\xf0\xe8"}',
        json.dumps({"id": "z", "text": "Why is that so?"}).encode(),
    ]
    done = wait(client, enter(client, b"\n".join(lines)))
    assert (done["n_rows"], done["n_error_rows"]) == (9, 7)
    assert [row["error"]["kind"] if "error" in row else row["reason"] for row in results(client, done)] == [
        None, "invalid_json", "empty", "lone_surrogate", "control_character", "invalid_id", "unknown_language",
        "invalid_encoding", "not_a_claim",
    ]  # fmt: skip


def test_results_come_in_whatever_format_is_asked_for(client: TestClient) -> None:
    import pyarrow.parquet as pq

    done = wait(client, enter(client, rows_of(200) + b'{"id": "x"}\n'))
    plain = results(client, done)
    table = client.get(done["results_url"], params={"format": "csv"})
    cells = list(csv.DictReader(io.StringIO(table.text)))
    parquet = client.get(done["results_url"], params={"format": "parquet"})
    columns = pq.read_table(io.BytesIO(parquet.content)).to_pylist()
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert f'filename="{done["id"]}.scored.csv"' in table.headers["content-disposition"]
    assert table.headers["x-credence-disclaimer"] == DISCLAIMER
    for found in (cells, columns):
        assert [row["id"] for row in found] == [str(row["id"]) for row in plain]
        assert [row["score_id"] or None for row in found] == [row.get("score_id") for row in plain]
        assert found[-1]["error_kind"] == "missing_text"


def test_csv_and_parquet_go_in_as_well_and_come_out_the_same(client: TestClient) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"id": ["=1", "2"], "text": [GOOD, "Вони таємно керують світом."]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    content = 'id;text\r\n"\'=1";The court met on Monday.\r\n2;Вони таємно керують світом.\r\n'
    bodies = {
        "text/csv; charset=windows-1251": content.encode("windows-1251"),
        "text/csv": content.encode("utf-8-sig"),
        "application/vnd.apache.parquet": sink.getvalue(),
    }
    for media_type, body in bodies.items():
        done = wait(client, enter(client, body, **{"Content-Type": media_type}))
        own = client.get(done["results_url"])
        assert own.headers["content-type"].partition(";")[0] == media_type.partition(";")[0]
        found = client.get(done["results_url"], params={"format": "jsonl"}).text.splitlines()
        assert [(row["id"], row["language"]) for row in map(json.loads, found)] == [("=1", "en"), ("2", "uk")]


@pytest.mark.on_both_databases
def test_tags_of_a_row_go_before_those_of_the_batch(client: TestClient, database: Database) -> None:
    from service.store.records import ScoreFilter, Tags
    from service.store.score_store import ScoreStore

    content = f'{{"id": 1, "text": "{GOOD}", "source": "own", "document_id": "d"}}\n{{"id": 2, "text": "{GOOD}"}}'
    done = wait(client, enter(client, content.encode(), "?source=wire&author=desk"))
    stored = ScoreStore(database).list_scores(ScoreFilter(batch_id=UUID(done["id"])), limit=10)
    assert [(s.batch_line, s.tags, s.caller_id, s.text) for s in stored] == [
        (2, Tags("wire", "desk", None), "2", GOOD),
        (1, Tags("own", "desk", "d"), "1", GOOD),
    ]


@pytest.mark.on_both_databases
def test_a_key_is_worth_one_batch(client: TestClient) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = enter(client, rows_of(3), **key)
    again = client.post("/v1/batches", content=b"", headers=NDJSON | key)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert again.headers["Location"] == first["url"]
    assert [row["id"] for row in client.get("/v1/batches").json()["rows"]] == [first["id"]]


@pytest.mark.on_both_databases
def test_what_is_not_to_be_stored_is_nowhere(client: TestClient, settings: Settings, database: Database) -> None:
    sent = rows_of(200, text="The CANARY-7f3a court met on day {n}.")
    done = wait(client, enter(client, sent, "?store=false&source=wire"))
    assert (done["stored"], done["n_done_rows"], done["source"]) == (False, 200, None)
    found = results(client, done)
    assert [row["id"] for row in found] == list(range(200))
    assert "score_id" not in found[0]
    kept = uploads(settings)
    assert [name.split("/")[-1].split("-")[:2] for name in kept[1:]] == [["results", str(n)] for n in range(1, 5)]
    for path in settings.state_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            unpacked = zlib.decompress(content) if path.name.startswith("results-") else content
            assert b"CANARY" not in unpacked
    with database.reading() as connection:
        for table in ("scores", "models", "documents"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM batch_chunks WHERE rows IS NOT NULL").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM batch_chunks WHERE results IS NOT NULL").scalar() == 0
    assert client.delete(done["url"]).status_code == 204
    assert uploads(settings) == []


@pytest.fixture
def idle_client(served_model: ServedModel, database: Database) -> Iterator[TestClient]:
    """A service that takes batches in and scores none."""
    with TestClient(create_app(Settings(batch_workers=0), served_model, database)) as client:
        yield client


@pytest.mark.on_both_databases
def test_results_wait_for_the_end_of_a_batch_and_a_cancelled_one_says_so(
    idle_client: TestClient, settings: Settings
) -> None:
    entered = enter(idle_client, rows_of(100), "?store=false")
    assert (entered["state"], entered["n_done_rows"], entered["seconds_left"]) == ("queued", 0, None)
    early = idle_client.get(entered["results_url"])
    assert (early.status_code, early.json()["type"]) == (409, "urn:credence:problem:batch-not-ended")
    for _ in range(2):
        cancelled = idle_client.post(entered["cancel_url"])
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    late = idle_client.get(entered["results_url"])
    assert (late.status_code, late.content) == (200, b"")
    assert (late.headers["X-Credence-Incomplete"], late.headers["X-Credence-Rows"]) == ("cancelled", "0")
    assert not [name for name in uploads(settings) if "/" in name]


@pytest.mark.on_both_databases
def test_a_batch_can_be_deleted_at_any_time(idle_client: TestClient, settings: Settings) -> None:
    entered = enter(idle_client, rows_of(100))
    assert idle_client.delete(entered["url"]).status_code == 204
    assert uploads(settings) == []
    for response in (
        idle_client.get(entered["url"]),
        idle_client.delete(entered["url"]),
        idle_client.post(entered["cancel_url"]),
        idle_client.get(entered["results_url"]),
    ):
        assert (response.status_code, response.json()["type"]) == (404, "urn:credence:problem:no-such-record")


@pytest.mark.on_both_databases
def test_deleting_takes_stored_scores_along_if_asked(client: TestClient, database: Database) -> None:
    from service.store.records import ScoreFilter
    from service.store.score_store import ScoreStore

    for query, n_left in (("", 3), ("?scores=true", 3)):
        done = wait(client, enter(client, rows_of(3)))
        assert client.delete(f"{done['url']}{query}").status_code == 204
        assert len(ScoreStore(database).list_scores(ScoreFilter(), limit=10)) == n_left


@pytest.mark.on_both_databases
def test_the_list_shows_the_newest_first_in_pages(idle_client: TestClient) -> None:
    entered = [enter(idle_client, rows_of(1))["id"] for _ in range(3)]
    first = idle_client.get("/v1/batches?limit=2").json()
    rest = idle_client.get("/v1/batches", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [row["id"] for row in first["rows"] + rest["rows"]] == entered[::-1]
    assert (rest["next_cursor"], bool(first["disclaimer"])) == (None, True)


def test_an_empty_file_is_a_batch_without_rows(client: TestClient) -> None:
    done = wait(client, enter(client, b"\n"))
    assert (done["state"], done["n_rows"], done["share_done"], results(client, done)) == ("done", 0, 1.0, [])


@pytest.mark.on_both_databases
def test_the_rows_before_a_fault_are_scored_and_the_batch_has_failed(client: TestClient, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    texts = [f"The court met on day {n}, and {uuid4()} was there." for n in range(2000)]
    table = pa.table({"id": [str(n) for n in range(2000)], "text": texts})
    pq.write_table(table, path, row_group_size=500, compression="zstd", use_dictionary=False)
    damaged, column = bytearray(path.read_bytes()), pq.read_metadata(path).row_group(2).column(1)
    at = column.data_page_offset + column.total_compressed_size // 2
    damaged[at : at + 200] = bytes(200)
    done = wait(client, enter(client, bytes(damaged), **{"Content-Type": "application/vnd.apache.parquet"}))
    assert done["state"] == "failed"
    assert done["failure"]
    assert 1000 <= done["n_done_rows"] < 1500
    response = client.get(done["results_url"], params={"format": "jsonl"})
    assert response.headers["X-Credence-Incomplete"] == "failed"
    found = [json.loads(line)["id"] for line in response.text.splitlines()]
    assert found == [str(n) for n in range(done["n_done_rows"])]


@pytest.mark.on_both_databases
def test_unfinished_batches_go_on_after_a_restart(
    idle_client: TestClient, settings: Settings, served_model: ServedModel, database: Database
) -> None:
    kept, unkept = enter(idle_client, rows_of(100)), enter(idle_client, rows_of(100), "?store=false")
    with TestClient(create_app(settings, served_model, database)) as client:
        for batch in (kept, unkept):
            assert [row["id"] for row in results(client, wait(client, batch))] == list(range(100))
