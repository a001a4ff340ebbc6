"""Clients that go on through every end of their server: the same request under the same key, until it is answered."""

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Any, Final
from uuid import UUID

import httpx

TIMEOUT_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.05


@dataclass
class Acknowledged:
    """What a server has said it keeps: ids of scores and documents by the caller's own id; batches by their number."""

    scores: dict[str, UUID] = field(default_factory=dict)
    documents: dict[str, tuple[UUID, int]] = field(default_factory=dict)
    batches: dict[int, str] = field(default_factory=dict)
    n_repeated: int = 0


class Client(ABC, Thread):
    """Sends one request after the other until it is told to end, each until it is acknowledged."""

    def __init__(self, name: str, url: str, *, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.acknowledged = Acknowledged()
        self.faults: list[str] = []
        self._draw = random.Random(f"{name} {seed}")
        self._is_ending = Event()
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._n_sent = 0

    def end(self) -> None:
        """End with the acknowledgement of what is being sent."""
        self._is_ending.set()

    def run(self) -> None:
        """Send."""
        while not self._is_ending.is_set():
            self._n_sent += 1
            self._send_one(self._n_sent)
        self._http.close()

    @abstractmethod
    def _send_one(self, number: int) -> None: ...

    def _insist(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        while True:
            try:
                response = send()
            except httpx.TransportError:
                pass
            else:
                if response.is_success:
                    return response
                if response.status_code not in (429, 503):
                    self.faults.append(f"{response.status_code} {response.text[:200]}")
            self._is_ending.wait(_PAUSE_SECONDS)


class ScoringClient(Client):
    """Has statements and documents scored."""

    def _send_one(self, number: int) -> None:
        caller = f"{self.name}-{number}"
        texts = [f"Client {caller} says that item {n} is item {n}." for n in range(self._draw.randint(1, 5))]
        is_document = self._draw.random() < 0.25
        path, body = self._build(caller, texts, is_document=is_document)
        response = self._insist(lambda: self._http.post(path, json=body, headers={"Idempotency-Key": caller}))
        answer = response.json()
        self.acknowledged.n_repeated += response.headers["X-Request-Id"] != answer["request_id"]
        if is_document:
            kept = (UUID(answer["stored_document_id"]), len(answer["statements"]))
            self.acknowledged.documents[caller] = kept
        else:
            self.acknowledged.scores |= {found["id"]: UUID(found["score_id"]) for found in answer["results"]}

    def _build(self, caller: str, texts: list[str], *, is_document: bool) -> tuple[str, dict[str, Any]]:
        if is_document:
            return "/v1/documents", {"id": caller, "text": " ".join(texts), "store": True}
        statements = [{"id": f"{caller}-{n}", "text": text} for n, text in enumerate(texts)]
        return "/v1/score", {"statements": statements, "store": True}


class BatchClient(Client):
    """Enters batches, and waits with a new one while several are still being scored."""

    def __init__(self, name: str, url: str, *, seed: int, n_rows: int, max_open: int = 3) -> None:
        super().__init__(name, url, seed=seed)
        self.n_rows = n_rows
        self._max_open = max_open
        self._open: set[str] = set()

    def wait_until_done(self) -> None:
        """Return when every batch has ended."""
        with httpx.Client(base_url=self._http.base_url, timeout=TIMEOUT_SECONDS, trust_env=False) as self._http:
            self._is_ending.clear()
            while self._open:
                self._forget_ended()

    def row_id(self, number: int, row: int) -> str:
        """Return the caller's own id of a row of a batch."""
        return f"{self.name}-{number}-{row}"

    def _send_one(self, number: int) -> None:
        while len(self._open) >= self._max_open:
            if self._is_ending.is_set():
                return
            self._forget_ended()
        rows = [
            {"id": self.row_id(number, row), "text": f"Row {row} of batch {number} of {self.name} is row {row}."}
            for row in range(self.n_rows)
        ]
        content = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        headers = {"Idempotency-Key": f"{self.name}-{number}", "Content-Type": "application/x-ndjson"}
        response = self._insist(lambda: self._http.post("/v1/batches?store=true", content=content, headers=headers))
        self.acknowledged.n_repeated += response.status_code == httpx.codes.OK
        self.acknowledged.batches[number] = response.json()["id"]
        self._open.add(response.json()["id"])

    def _forget_ended(self) -> None:
        for batch_id in list(self._open):
            answer = self._insist(partial(self._http.get, f"/v1/batches/{batch_id}")).json()
            if answer["state"] not in ("queued", "running"):
                self._open.discard(batch_id)
                if answer["state"] != "done":
                    self.faults.append(f"a batch is {answer['state']}")
        self._is_ending.wait(_PAUSE_SECONDS)
