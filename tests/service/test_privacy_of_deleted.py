"""Looks for what was deleted in the files of SQLite, which says itself that it overwrites it, and does not quite."""

import random
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from service.store.database import Database
from service.store.records import NewDocument, NewScore, ScoreFilter, Tags
from service.store.score_store import ScoreStore
from tests.service.secret_texts import Secret
from tests.service.tiny_scorer import TinyScorer

INFO = TinyScorer().info


class Archive:
    """A store with statements and documents of a secret in it, and others between them that are to stay."""

    def __init__(self, database: Database, secret: Secret) -> None:
        self.store = ScoreStore(database)
        self.scores: list[NewScore] = []
        self.documents: list[NewDocument] = []
        self._secret = secret
        sizes = random.Random(7)
        for number in range(150):
            self._keep_statements(number, sizes.choice([1, 3, 20, 60]))
        for n_times in (1, 200):
            self._keep_document(n_times)

    def _keep_statements(self, number: int, n_times: int) -> None:
        texts = [statement * n_times for statement in self._secret.statements] + [f"The court met on day {number}."]
        tags = [Tags(**self._secret.tags)] * 2 + [Tags(source=f"other {number}")]
        scores = TinyScorer().score_statements(texts)
        new = [NewScore(uuid4(), None, *rest) for rest in zip(tags, texts, scores, strict=True)]
        self.store.keep_statements(new, INFO, uuid4())
        self.scores += new[:2]

    def _keep_document(self, n_times: int) -> None:
        tags = Tags(**self._secret.tags)
        document = NewDocument(uuid4(), None, tags, self._secret.document * n_times, False)
        scores = TinyScorer().score_document(document.text).statements
        self.store.keep_document(document, [NewScore(uuid4(), None, tags, None, s) for s in scores], INFO, uuid4())
        self.documents.append(document)

    def delete_by_id(self) -> None:
        random.Random(7).shuffle(self.scores)
        for score in self.scores:
            self.store.delete_score(score.id)
        for document in self.documents:
            self.store.delete_document(document.id)

    def delete_by_source(self) -> None:
        self.store.delete_matching(source=self._secret.tags["source"])

    def delete_by_document_id(self) -> None:
        self.store.delete_matching(document_id=self._secret.tags["document_id"])


@pytest.mark.parametrize("delete", [Archive.delete_by_id, Archive.delete_by_source, Archive.delete_by_document_id])
def test_what_is_deleted_is_in_no_file_any_more(
    database: Database, tmp_path: Path, delete: Callable[[Archive], None]
) -> None:
    secret = Secret()
    archive = Archive(database, secret)
    archive.store.shed_deleted()
    assert secret.find_files([tmp_path])
    delete(archive)
    archive.store.shed_deleted()
    database.tidy_deleted()
    assert secret.find_files([tmp_path]) == []
    assert len(archive.store.list_scores(ScoreFilter(), limit=1000)) == 150


@pytest.mark.parametrize("route", ["/v1/score", "/v1/documents"])
def test_what_a_client_deletes_is_gone_with_the_next_upkeep(
    client: TestClient, database: Database, tmp_path: Path, route: str
) -> None:
    secret = Secret()
    answer = client.post(route, json=secret.body_for(route)).json()
    path = "/v1/documents/" + answer["stored_document_id"] if "stored_document_id" in answer else "/v1/scores"
    assert secret.find_files([tmp_path])
    deleted = client.delete(path, params={"source": secret.tags["source"]} if path == "/v1/scores" else {})
    database.tidy_deleted()
    assert (deleted.is_success, secret.find_files([tmp_path])) == (True, [])
