"""Requests as tools of the Perspective API send them, and the answers that these tools read."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER, Outcome
from service.app import create_app
from service.door.api_keys import Scope
from service.models.source import ServedModel
from service.perspective.schemas import ATTRIBUTES, Utf16Offsets
from service.settings import Settings
from service.store.comment_search import CommentSearch
from service.store.database import Database
from service.store.feedback_store import FeedbackFilter, FeedbackStore
from service.store.key_store import KeyStore
from service.store.records import ScoreFilter, StoredScore
from service.store.score_store import ScoreStore

ANALYZE, SUGGEST = "/v1alpha1/comments:analyze", "/v1alpha1/comments:suggestscore"
REPORT, NARRATIVE = "The court met on Monday.", "They secretly rule us all."
COMMENT = f"{REPORT} {NARRATIVE}"
CANARY = "CANARY-7f3a"
ALL: dict[str, Any] = {name: {} for name in ATTRIBUTES}


def ask(client: TestClient, text: str = COMMENT, path: str = ANALYZE, **more: Any) -> Any:
    body = {"comment": {"text": text}, **({"requestedAttributes": ALL} if path == ANALYZE else {}), **more}
    return client.post(path, json=body)


def suggest(client: TestClient, text: str, scores: dict[str, Any], **more: Any) -> Any:
    return ask(client, text, SUGGEST, attributeScores=scores, **more)


def summary(value: float) -> dict[str, Any]:
    return {"summaryScore": {"value": value}}


def error_of(response: Any, code: int = 400, status: str = "INVALID_ARGUMENT") -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    assert CANARY not in response.text
    error: dict[str, Any] = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (code, code, status)
    assert error["message"]
    return error


def error_type(response: Any) -> str:
    return str(error_of(response)["details"][0]["errorType"])


def kept(database: Database) -> list[StoredScore]:
    return ScoreStore(database).list_scores(ScoreFilter(), limit=100)


def proposals(database: Database) -> list[tuple[str, str, bool, str | None]]:
    texts = {score.id: score.text for score in kept(database)}
    return [
        (texts[said.score_id], said.proposed_label, said.is_dispute, said.reviewer)
        for said in FeedbackStore(database).list_feedback(FeedbackFilter(), limit=100)[::-1]
    ]


def test_the_names_of_attributes_are_those_of_outcomes() -> None:
    assert list(ATTRIBUTES) == ["FACTUAL_REPORT", "ALLEGATION", "LIKELY_DISINFORMATION_NARRATIVE", "NOT_A_CLAIM"]
    assert set(ATTRIBUTES.values()) == set(Outcome)


def test_the_request_of_a_common_tool_is_answered_in_the_common_shape(client: TestClient) -> None:
    body = {
        "comment": {"text": COMMENT, "type": "PLAIN_TEXT"},
        "context": {"entries": [{"text": "An article."}]},
        "requestedAttributes": {"LIKELY_DISINFORMATION_NARRATIVE": {"scoreType": "PROBABILITY"}},
        "languages": ["en"],
        "clientToken": "comment-53922",
        "sessionId": "8451",
        "communityId": "/forum/movies",
        "spanAnnotations": False,
        "doNotStore": False,
    }
    response = client.post(f"{ANALYZE}?key=any&alt=json&prettyPrint=false", content=json.dumps(body).encode())
    score = {"value": 0.7, "type": "PROBABILITY"}
    assert response.status_code == 200
    assert response.json() == {
        "attributeScores": {
            "LIKELY_DISINFORMATION_NARRATIVE": {
                "spanScores": [{"begin": 0, "end": len(COMMENT), "score": score}],
                "summaryScore": score,
            }
        },
        "languages": ["en"],
        "clientToken": "comment-53922",
    }
    assert response.headers["X-Credence-Disclaimer"] == DISCLAIMER


def test_names_in_snake_case_are_read_too(client: TestClient) -> None:
    body = {"comment": {"text": REPORT}, "requested_attributes": {"ALLEGATION": {"score_type": None}}}
    answer = client.post(ANALYZE, json={**body, "do_not_store": True, "span_annotations": True}).json()
    assert answer["attributeScores"]["ALLEGATION"]["summaryScore"]["value"] == 0.1
    assert answer["languages"] == answer["detectedLanguages"] == ["en"]


def test_each_statement_is_a_span_and_the_highest_of_them_the_summary(client: TestClient) -> None:
    scores = ask(client, f"{COMMENT} Why not?", spanAnnotations=True).json()["attributeScores"]
    spans = scores["FACTUAL_REPORT"]["spanScores"]
    # The last statement is too short to be scored, and so has no span.
    assert [COMMENT[span["begin"] : span["end"]] for span in spans] == [REPORT, NARRATIVE]
    assert [span["score"]["value"] for span in spans] == [0.7, 0.1]
    assert scores["FACTUAL_REPORT"]["summaryScore"]["value"] == 0.7
    assert {name: score["summaryScore"]["value"] for name, score in scores.items()} == {
        "FACTUAL_REPORT": 0.7,
        "ALLEGATION": 0.1,
        "LIKELY_DISINFORMATION_NARRATIVE": 0.7,
        "NOT_A_CLAIM": 0.1,
    }


def test_offsets_count_utf_16_units(client: TestClient) -> None:
    text = f"😀 The 😀 court met. {REPORT}"
    spans = ask(client, text, languages=["en-GB"], spanAnnotations=True).json()["attributeScores"]["ALLEGATION"]
    units = text.encode("utf-16-le")
    found = [units[2 * span["begin"] : 2 * span["end"]].decode("utf-16-le") for span in spans["spanScores"]]
    assert found[-1] == REPORT
    assert "😀" in found[0]
    whole = ask(client, text, languages=["en"]).json()["attributeScores"]["ALLEGATION"]["spanScores"]
    assert [(span["begin"], span["end"]) for span in whole] == [(0, len(units) // 2)]


@pytest.mark.parametrize("text", ["", "abc", "😀", "a😀b😀😀c", "їжак 𝒳"])
def test_units_are_counted_as_utf_16_has_them(text: str) -> None:
    offsets = Utf16Offsets(text)
    assert [offsets(n) for n in range(len(text) + 1)] == [
        len(text[:n].encode("utf-16-le")) // 2 for n in range(len(text) + 1)
    ]


def test_scores_below_a_threshold_are_left_out(client: TestClient) -> None:
    asked = {"FACTUAL_REPORT": {"scoreThreshold": 0.5}, "ALLEGATION": {"scoreThreshold": 0.5}}
    scores = ask(client, requestedAttributes=asked, spanAnnotations=True).json()["attributeScores"]
    assert list(scores) == ["FACTUAL_REPORT"]
    assert len(scores["FACTUAL_REPORT"]["spanScores"]) == 1


@pytest.mark.parametrize(("do_not_store", "n_kept"), [(True, 0), (False, 2), (None, 2)])
def test_nothing_is_kept_where_that_is_asked_for(
    client: TestClient, database: Database, do_not_store: bool | None, n_kept: int
) -> None:
    assert ask(client, doNotStore=do_not_store, clientToken="c-1", communityId="/forum").status_code == 200
    scores = kept(database)
    assert len(scores) == n_kept
    assert {score.tags.source for score in scores} <= {"/forum"}
    if scores:
        document = ScoreStore(database).read_document(scores[0].stored_document_id)  # type: ignore[arg-type]
        assert document is not None
        assert (document.text, document.caller_id) == (COMMENT, "c-1")


def test_a_service_that_keeps_nothing_by_default_keeps_no_comment(
    served_model: ServedModel, database: Database
) -> None:
    with TestClient(create_app(Settings(store_by_default=False), served_model, database)) as client:
        assert ask(client, doNotStore=False).status_code == 200
        error = error_of(suggest(client, REPORT, {"ALLEGATION": summary(1)}), status="FAILED_PRECONDITION")
    assert "POST /v1/documents" in error["message"]
    assert kept(database) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"comment": {"text": ""}}, "COMMENT_EMPTY"),
        ({"comment": {}}, "COMMENT_EMPTY"),
        ({"comment": {"text": f"{CANARY} " * 10_000}}, "COMMENT_TOO_LONG"),
        ({"comment": {"text": CANARY}}, "COMMENT_TOO_SHORT"),
        ({"comment": {"text": "..."}}, "COMMENT_TOO_SHORT"),
        ({"comment": {"text": COMMENT, "type": "HTML"}}, "INVALID_REQUEST"),
        ({"comment": {"text": COMMENT, "type": CANARY}}, "INVALID_REQUEST"),
        ({"comment": {"text": f"{CANARY}\0"}}, "INVALID_REQUEST"),
        ({"comment": {"text": f"{CANARY}\ud800"}}, "INVALID_REQUEST"),
        ({"requestedAttributes": {}}, "NO_REQUESTED_ATTRIBUTES"),
        ({"requestedAttributes": None}, "NO_REQUESTED_ATTRIBUTES"),
        ({"requestedAttributes": {"TOXICITY": {}}}, "INVALID_REQUEST"),
        ({"requestedAttributes": {CANARY: {}, "ALLEGATION": {}}}, "INVALID_REQUEST"),
        ({"requestedAttributes": {CANARY: {"scoreType": CANARY}}}, "INVALID_REQUEST"),
        ({"requestedAttributes": {"ALLEGATION": {"scoreType": "STD_DEV_SCORE"}}}, "INVALID_REQUEST"),
        ({"languages": ["de"]}, "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"),
        ({"languages": ["en", CANARY]}, "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"),
        ({"comment": {"text": "Das Gericht tagte über Österreich."}}, "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"),
        ({"clientToken": CANARY * 20}, "INVALID_REQUEST"),
        ({"communityId": f"{CANARY}\0"}, "INVALID_REQUEST"),
        ({CANARY: 1}, "INVALID_REQUEST"),
        ({"doNotStore": "yes"}, "INVALID_REQUEST"),
    ],
    ids=str,
)
def test_what_cannot_be_scored_is_refused_in_that_apis_words(
    client: TestClient, database: Database, changes: dict[str, Any], kind: str
) -> None:
    body = json.dumps({"comment": {"text": COMMENT}, "requestedAttributes": ALL, **changes})
    assert error_type(client.post(ANALYZE, content=body.encode())) == kind
    assert kept(database) == []


def test_it_is_said_which_attributes_there_are(client: TestClient) -> None:
    message = error_of(ask(client, requestedAttributes={"TOXICITY": {}}))["message"]
    assert all(name in message for name in ATTRIBUTES)


def test_it_is_said_which_field_is_wrong_but_not_what_stood_there(client: TestClient) -> None:
    error = error_of(ask(client, requestedAttributes={CANARY: {"scoreThreshold": CANARY}}, languages=[7]))
    fields = {violation["field"] for violation in error["details"][2]["fieldViolations"]}
    assert fields == {"requestedAttributes.*.scoreThreshold", "languages.0"}
    assert error["details"][1] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "INVALID_FIELD",
        "domain": "credence",
    }


def test_an_attribute_that_does_not_know_the_language_is_named(client: TestClient) -> None:
    error = error_of(ask(client, "Das Gericht tagte über Österreich.", requestedAttributes={"ALLEGATION": {}}))
    assert "does not support request languages" in error["message"]
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.commentanalyzer.v1alpha1.Error",
            "errorType": "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
            "languageNotSupportedByAttributeError": {"attribute": "ALLEGATION", "detectedLanguages": ["und"]},
        }
    ]


def test_unsupported_attributes_are_dropped_where_that_is_asked_for(client: TestClient) -> None:
    asked: dict[str, Any] = {"TOXICITY": {}, "ALLEGATION": {}}
    answer = ask(client, requestedAttributes=asked, dropUnsupportedAttributes=True)
    assert list(answer.json()["attributeScores"]) == ["ALLEGATION"]
    other = ask(client, "Das Gericht tagte über Österreich.", dropUnsupportedAttributes=True)
    assert (other.status_code, other.json()["attributeScores"]) == (200, {})
    assert ask(client, languages=["de"], dropUnsupportedAttributes=True).json()["attributeScores"] == {}


@pytest.mark.parametrize(
    ("send", "code", "status"),
    [
        (lambda client: client.get(ANALYZE), 405, "INVALID_ARGUMENT"),
        (lambda client: client.post("/v1alpha1/comments:other", json={}), 404, "NOT_FOUND"),
        (lambda client: client.post(ANALYZE, content=f"{{{CANARY}"), 400, "INVALID_ARGUMENT"),
        (lambda client: client.post(ANALYZE), 400, "INVALID_ARGUMENT"),
        (lambda client: client.post(ANALYZE, data={"a": "b"}), 415, "INVALID_ARGUMENT"),
        (
            lambda client: client.post(ANALYZE, json={}, headers={"Origin": "https://x.example"}),
            403,
            "PERMISSION_DENIED",
        ),
    ],
)
def test_every_other_error_has_that_shape_too(client: TestClient, send: Any, code: int, status: str) -> None:
    response = send(client)
    error_of(response, code, status)
    assert response.headers["content-length"] == str(len(response.content))


def test_other_paths_keep_their_own_errors(client: TestClient) -> None:
    response = client.post("/v1/score", json={})
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.on_both_databases
def test_a_suggestion_is_kept_as_feedback_on_the_newest_score_of_the_text(
    client: TestClient, database: Database
) -> None:
    for _ in range(2):
        ask(client, REPORT)
    response = suggest(client, REPORT, {"ALLEGATION": summary(1)}, clientToken="t", sessionId="s-1", languages=["en"])
    assert response.json() == {"clientToken": "t", "requestedLanguages": ["en"]}
    assert response.headers["X-Credence-Disclaimer"] == DISCLAIMER
    newest, oldest = kept(database)
    assert (newest.n_disputes, oldest.n_disputes) == (1, 0)
    assert proposals(database) == [(REPORT, "allegation", True, "s-1")]


def test_the_highest_suggested_outcome_is_what_is_proposed(client: TestClient, database: Database) -> None:
    suggest(client, REPORT, {"ALLEGATION": summary(0.2), "FACTUAL_REPORT": summary(0.9), "NOT_A_CLAIM": summary(0)})
    assert proposals(database) == [(REPORT, "factual_report", False, None)]


def test_a_comment_that_was_not_kept_is_scored_and_kept_first(client: TestClient, database: Database) -> None:
    ask(client, REPORT, doNotStore=True)
    assert suggest(client, REPORT, {"ALLEGATION": summary(1)}, communityId="/forum").status_code == 200
    assert [(score.text, score.tags.source) for score in kept(database)] == [(REPORT, "/forum")]
    assert suggest(client, REPORT, {"ALLEGATION": summary(1)}, communityId="/other").status_code == 200
    assert [score.tags.source for score in kept(database)] == ["/other", "/forum"]
    assert suggest(client, REPORT, {"ALLEGATION": summary(1)}).status_code == 200
    assert [score.n_disputes for score in kept(database)] == [2, 1]


def test_spans_say_which_statement_is_meant(client: TestClient, database: Database) -> None:
    text = f"😀 {COMMENT}"
    ask(client, text, languages=["en"])
    begin = text.index("They") + 1
    spans = [{"begin": begin, "end": begin + len(NARRATIVE), "score": {"value": 1}}]
    suggest(client, text, {"ALLEGATION": {"spanScores": spans}}, languages=["en"])
    assert proposals(database) == [(NARRATIVE, "allegation", True, None)]


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize(
    ("text", "scores"),
    [
        (COMMENT, {"ALLEGATION": summary(1)}),
        (COMMENT, {"ALLEGATION": {"spanScores": [{"begin": 3, "end": 9, "score": {"value": 1}}]}}),
        (COMMENT, {"ALLEGATION": {"spanScores": [{"begin": 0, "score": {"value": 1}}]}}),
        (REPORT, {"ALLEGATION": summary(0)}),
        (REPORT, {"ALLEGATION": summary(1), "NOT_A_CLAIM": summary(1)}),
        (REPORT, {"ALLEGATION": {}}),
        (REPORT, {"ALLEGATION": {"summaryScore": {}}}),
        (REPORT, {"ALLEGATION": summary(2)}),
        (REPORT, {CANARY: summary(1)}),
        (REPORT, {}),
        (REPORT, None),
    ],
    ids=str,
)
def test_a_suggestion_that_says_nothing_definite_is_refused_and_nothing_is_kept(
    client: TestClient, database: Database, text: str, scores: Any, is_kept: bool
) -> None:
    if is_kept:
        ask(client, text)
    n_before = len(kept(database))
    assert error_type(suggest(client, text, scores)) == "INVALID_REQUEST"
    assert (len(kept(database)), proposals(database)) == (n_before, [])


def test_a_session_that_is_no_name_is_refused(client: TestClient, database: Database) -> None:
    error = error_of(suggest(client, REPORT, {"ALLEGATION": summary(1)}, sessionId=f"{CANARY}\x1b"))
    assert error["details"][2]["fieldViolations"][0]["field"] == "sessionId"
    assert kept(database) == []


@pytest.mark.on_both_databases
def test_only_a_document_with_exactly_the_text_is_found(client: TestClient, database: Database) -> None:
    ask(client, REPORT, communityId="a")
    ask(client, f"{REPORT} ", communityId="b")
    search = CommentSearch(database)
    found = search.find(REPORT)
    assert found is not None
    assert (found.tags.source, [statement.text for statement in found.statements]) == ("a", [REPORT])
    assert search.find(REPORT, source="b") is None
    assert search.find(REPORT.lower()) is None


class TestWithKeys:
    @pytest.fixture
    def client(self, served_model: ServedModel, database: Database) -> Iterator[TestClient]:
        with TestClient(create_app(Settings(require_keys=True), served_model, database)) as client:
            yield client

    def test_a_key_may_stand_in_the_query_and_is_never_logged(
        self, client: TestClient, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        _, token = KeyStore(database).create("Plugin", [Scope.SCORE])
        body = {"comment": {"text": REPORT}, "requestedAttributes": ALL}
        response = client.post(f"{ANALYZE}?key={token.text}", json=body)
        assert response.status_code == 200
        told = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
        told += "".join(str(vars(record)) for record in caplog.records if not record.name.startswith("http"))
        assert token.secret not in told + response.text + str(response.headers)
        assert REPORT not in told

    def test_without_a_key_the_way_in_is_told(self, client: TestClient) -> None:
        error = error_of(ask(client), 401, "UNAUTHENTICATED")
        assert "?key=" in error["message"]
        assert error_of(client.post(f"{ANALYZE}?key={CANARY}"), 401, "UNAUTHENTICATED")

    def test_a_key_for_feedback_alone_has_nothing_scored(self, client: TestClient, database: Database) -> None:
        store = KeyStore(database)
        _, feedback = store.create("Readers", [Scope.FEEDBACK])
        _, score = store.create("Plugin", [Scope.SCORE])
        body = {"comment": {"text": REPORT}, "attributeScores": {"ALLEGATION": summary(1)}}
        refused = client.post(f"{SUGGEST}?key={feedback.text}", json=body)
        assert "scope score" in error_of(refused, 403, "PERMISSION_DENIED")["message"]
        assert kept(database) == []
        asked = {"comment": {"text": REPORT}, "requestedAttributes": ALL}
        assert client.post(f"{ANALYZE}?key={score.text}", json=asked).status_code == 200
        assert client.post(f"{SUGGEST}?key={feedback.text}", json=body).status_code == 200
        assert proposals(database) == [(REPORT, "allegation", True, None)]


def test_googles_libraries_are_told_that_the_methods_are_on_the_host_that_was_asked(client: TestClient) -> None:
    document = client.get("/$discovery/rest?version=v1alpha1").json()
    assert (document["rootUrl"], document["servicePath"]) == ("http://testserver/", "")
    methods = document["resources"]["comments"]["methods"]
    assert {f"/{method['path']}" for method in methods.values()} == {ANALYZE, SUGGEST}
    kinds = {method[way]["$ref"] for method in methods.values() for way in ("request", "response")}
    assert kinds == set(document["schemas"])


def test_the_contract_says_all_this(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path in (ANALYZE, SUGGEST):
        operation = document["paths"][path]["post"]
        assert {"keyInQuery": []} in operation["security"]
        assert "422" not in operation["responses"]
        errors = [found for status, found in operation["responses"].items() if int(status) >= 400]
        assert {tuple(found["content"]) for found in errors} == {("application/json",)}
        assert "X-Credence-Disclaimer" in operation["responses"]["200"]["headers"]
    schemas = document["components"]["schemas"]
    assert {"requestedAttributes", "doNotStore", "spanAnnotations"} <= set(schemas["AnalyzeRequest"]["properties"])
    assert "error" in schemas["GoogleError"]["properties"]
