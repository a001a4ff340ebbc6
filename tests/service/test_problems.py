import json
import logging
from collections.abc import Iterator, Sequence
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from credence.errors import InvalidTextError
from credence.scoring import DocumentScore, ModelInfo, Scorer, StatementScore
from service.app import create_app
from service.errors import TEXT_PROBLEMS, ProblemType
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database

CANARY = "CANARY-7f3a"
JSON = {"Content-Type": "application/json"}
GOOD = '{"text": "The court met on Monday."}'
REFUSED_TEXT = "The scorer refuses this."


class FailingScorer:
    """Fails with a message that quotes the text, as a careless library might."""

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner

    @property
    def info(self) -> ModelInfo:
        return self.inner.info

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        if texts[0] == REFUSED_TEXT:
            raise InvalidTextError("empty", "A part of the text is empty.", 3)
        raise RuntimeError(f"cannot score {texts[0]}")

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        raise RuntimeError(f"cannot score {text}")


@pytest.fixture
def failing_client(scorer: Scorer, database: Database) -> Iterator[TestClient]:
    app = create_app(Settings(), ServedModel(FailingScorer(scorer), "", {}), database)
    with TestClient(app) as client:
        yield client


def statements(*items: str) -> bytes:
    return f'{{"statements": [{", ".join(items)}]}}'.encode()


REFUSED = [
    (b"", 400, "invalid-json", None),
    (b"{", 400, "invalid-json", None),
    (b"[" * 50_000, 400, "invalid-json", None),
    (b'{"statements": ' + b"1" * 5_000 + b"}", 400, "invalid-json", None),
    (b'{"statements": [{"text": "\xcf\xf0"}]}', 400, "invalid-encoding", None),
    (b'{"statements": [{"text": "\xed\xa0\x80"}]}', 400, "invalid-encoding", None),
    (statements(GOOD).decode().encode("utf-16"), 400, "invalid-encoding", None),
    (statements(GOOD).decode().encode("utf-16-le"), 400, "invalid-encoding", None),
    (b"[]", 422, "invalid-field", ""),
    (b"{}", 422, "missing-field", "/statements"),
    (b'{"statements": 1}', 422, "invalid-field", "/statements"),
    (statements(), 422, "no-statements", "/statements"),
    (statements(*["1"] * 257), 422, "too-many-statements", "/statements"),
    (statements(GOOD, "{}"), 422, "missing-field", "/statements/1/text"),
    (statements(GOOD, '{"text": null}'), 422, "invalid-field", "/statements/1/text"),
    (statements('{"text": "Fine as it is", "id": 5}'), 422, "invalid-field", "/statements/0/id"),
    (statements('{"text": "Fine as it is", "id": "\\ud800"}'), 422, "text-lone-surrogate", "/statements/0/id"),
    (statements('{"text": "Fine as it is", "lang": "en"}'), 422, "unknown-field", "/statements/0"),
    (b'{"statements": [], "SECRETWORD": 1}', 422, "unknown-field", ""),
    (statements('{"text": "Fine as it is", "not a name": 1}'), 422, "unknown-field", "/statements/0"),
    (statements(GOOD, GOOD, GOOD, '{"text": ""}'), 422, "text-empty", "/statements/3/text"),
    (statements('{"text": " \\n\\u200b"}'), 422, "text-empty", "/statements/0/text"),
    (statements(json.dumps({"text": "a" * 2001})), 422, "text-too-long", "/statements/0/text"),
    (statements('{"text": "null \\u0000 byte"}'), 422, "text-control-character", "/statements/0/text"),
    (statements('{"text": "half \\ud800 pair"}'), 422, "text-lone-surrogate", "/statements/0/text"),
    (statements('{"text": "Fine as it is", "language": "de"}'), 422, "unknown-language", "/statements/0/language"),
]


@pytest.mark.parametrize(
    ("body", "status", "slug", "pointer"), REFUSED, ids=[f"{n}-{row[2]}" for n, row in enumerate(REFUSED)]
)
def test_each_fault_has_its_own_answer(
    client: TestClient, body: bytes, status: int, slug: str, pointer: str | None
) -> None:
    response = client.post("/v1/score", content=body, headers=JSON)
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["type"], problem.get("pointer")) == (f"urn:credence:problem:{slug}", pointer)
    assert problem["title"]
    assert problem["detail"]


def test_every_bad_statement_of_a_list_is_named(client: TestClient) -> None:
    body = statements('{"text": ""}', GOOD, '{"text": "a\\u0000", "language": "xx"}')
    problem = client.post("/v1/score", content=body, headers=JSON).json()
    assert [(error["type"].rsplit(":")[-1], error["pointer"]) for error in problem["errors"]] == [
        ("text-empty", "/statements/0/text"),
        ("text-control-character", "/statements/2/text"),
        ("unknown-language", "/statements/2/language"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "known"),
    [
        ("/v1/score", b'{"statements": [], "SECRETWORD": 1}', ": statements, store."),
        ("/v1/score", statements('{"SECRETWORD": 1}'), ": source, author, document_id, text, id, language."),
        (
            "/v1/documents",
            b'{"text": "Fine", "SECRETWORD": 1}',
            ": source, author, document_id, text, id, language, store.",
        ),
    ],
)
def test_an_unknown_field_is_answered_with_the_known_ones(
    client: TestClient, path: str, body: bytes, known: str
) -> None:
    response = client.post(path, content=body, headers=JSON)
    assert response.json()["detail"].endswith(known)
    assert "SECRETWORD" not in response.text


@pytest.mark.parametrize(("max_statements", "n_statements"), [(256, 257), (3, 4), (3, 300)])
def test_too_many_statements_are_counted_and_the_limit_is_told(
    served_model: ServedModel, database: Database, max_statements: int, n_statements: int
) -> None:
    with TestClient(create_app(Settings(max_statements=max_statements), served_model, database)) as client:
        problem = client.post("/v1/score", content=statements(*[GOOD] * n_statements), headers=JSON).json()
    assert problem["type"] == "urn:credence:problem:too-many-statements"
    assert f"{n_statements} statements and at most {max_statements} " in problem["detail"]


@pytest.mark.parametrize("item", ['{"text": ""}', '{"text": 1}'])
@pytest.mark.parametrize(("n_bad", "n_more"), [(20, None), (256, 236)])
def test_twenty_faults_are_listed_and_the_rest_counted(
    client: TestClient, item: str, n_bad: int, n_more: int | None
) -> None:
    problem = client.post("/v1/score", content=statements(*[item] * n_bad), headers=JSON).json()
    assert (len(problem["errors"]), problem.get("more_errors")) == (20, n_more)


def test_nothing_is_scored_where_one_statement_is_bad(failing_client: TestClient) -> None:
    response = failing_client.post("/v1/score", content=statements(GOOD, '{"text": ""}'), headers=JSON)
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("body", "slug"),
    [('{"text": ""}', "text-empty"), ('{"text": "a", "language": "pl"}', "unknown-language")],
)
def test_a_document_is_checked_as_a_statement_is(client: TestClient, body: str, slug: str) -> None:
    problem = client.post("/v1/documents", content=body, headers=JSON).json()
    assert problem["type"] == f"urn:credence:problem:{slug}"
    assert problem["pointer"] in ("/text", "/language")


def test_one_word_of_a_megabyte_is_too_long(client: TestClient) -> None:
    problem = client.post("/v1/documents", json={"text": "a" * 1_000_000}).json()
    assert problem["type"] == "urn:credence:problem:text-too-long"


def test_a_too_large_body_is_refused_by_its_declared_length(client: TestClient) -> None:
    response = client.post("/v1/score", content=b"{}", headers={**JSON, "Content-Length": "99999999"})
    assert (response.status_code, response.json()["type"]) == (413, "urn:credence:problem:body-too-large")


def test_a_too_large_body_is_refused_while_it_streams_in(served_model: ServedModel, database: Database) -> None:
    settings = Settings(max_body_bytes=1000)
    with TestClient(create_app(settings, served_model, database)) as client:
        response = client.post("/v1/score", content=iter([b" " * 600] * 2), headers=JSON)
    assert (response.status_code, response.json()["type"]) == (413, "urn:credence:problem:body-too-large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=windows-1251"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {},
    ],
)
def test_a_body_that_is_not_declared_as_plain_json_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/v1/score", content=statements(GOOD), headers=headers)
    assert (response.status_code, response.json()["type"]) == (415, "urn:credence:problem:unsupported-media-type")


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    missing, wrong = client.get("/v1/nothing"), client.get("/v1/score")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:credence:problem:not-found")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "urn:credence:problem:method-not-allowed")
    assert wrong.headers["allow"] == "POST"
    assert client.put(f"/v1/documents/{uuid4()}").headers["allow"] == "GET, DELETE"
    assert client.put("/v1/feedback").headers["allow"] == "GET, POST"
    assert client.post("/v1/score/", json={}).status_code == 404


def test_an_unexpected_failure_is_a_bare_problem(failing_client: TestClient) -> None:
    response = failing_client.post("/v1/score", content=statements(GOOD), headers=JSON)
    assert (response.status_code, response.json()["type"]) == (500, "urn:credence:problem:internal-error")
    assert "Traceback" not in response.text


def test_a_refusal_by_the_scorer_itself_is_a_problem(failing_client: TestClient) -> None:
    response = failing_client.post("/v1/documents", json={"text": REFUSED_TEXT})
    assert (response.status_code, response.json()["type"]) == (422, "urn:credence:problem:text-empty")


def test_every_kind_of_invalid_text_has_a_type() -> None:
    assert set(TEXT_PROBLEMS) == {"empty", "too_long", "control_character", "lone_surrogate"}


def test_no_two_problems_share_a_type() -> None:
    assert len({problem.uri for problem in ProblemType}) == len(ProblemType)


@pytest.mark.parametrize(
    "body",
    [
        statements(f'{{"text": "{CANARY} \\u0000"}}'),
        statements(f'{{"text": "{CANARY} \\ud800"}}'),
        statements(json.dumps({"text": CANARY * 1000})),
        statements(f'{{"text": ["{CANARY}"]}}'),
        statements(f'{{"text": "Fine", "{CANARY} is a key": "{CANARY}"}}'),
        f'{{"statements": [], "{CANARY}": 1}}'.encode(),
        f'{{"statements": [], "CANARY": "{CANARY}"}}'.encode(),
        statements(f'{{"text": "Fine", "extra": "{CANARY}"}}'),
        statements(f'{{"text": "Fine", "language": "{CANARY}"}}'),
        statements(f'{{"text": "{CANARY} is fine"}}'),
        f'{{"statements": "{CANARY}"}}'.encode(),
        f'{{"statements": [{{"text": "{CANARY}'.encode(),
        f'"{CANARY}"'.encode(),
        CANARY.encode(),
        CANARY.encode() + b"\xff",
    ],
)
def test_neither_an_error_nor_a_log_repeats_what_was_sent(
    failing_client: TestClient, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    response = failing_client.post(f"/v1/score?text={CANARY}", content=body, headers=JSON)
    assert response.status_code >= 400
    assert CANARY not in response.text
    server_log = [record for record in caplog.records if not record.name.startswith("http")]
    assert server_log
    assert not any(CANARY in record.getMessage() or record.exc_info for record in server_log)
