"""What clients ask of batches, and what is left in the folder of uploads."""

import json
import time
from typing import Any

from fastapi.testclient import TestClient

from service.settings import Settings

NDJSON = {"Content-Type": "application/x-ndjson"}


GOOD = "The court met on Monday."


def rows_of(n_rows: int, text: str = "The court met on day {n}.") -> bytes:
    return "".join(json.dumps({"id": n, "text": text.format(n=n)}) + "\n" for n in range(n_rows)).encode()


def enter(client: TestClient, content: bytes, query: str = "", **headers: str) -> dict[str, Any]:
    response = client.post(f"/v1/batches{query}", content=content, headers=NDJSON | headers)
    assert response.status_code == 202, response.text
    entered: dict[str, Any] = response.json()
    assert response.headers["Location"] == entered["url"] == f"/v1/batches/{entered['id']}"
    return entered


def wait(client: TestClient, batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch that has ended."""
    for _ in range(3000):
        current: dict[str, Any] = client.get(batch["url"]).json()
        if current["finished_at"] is not None:
            return current
        time.sleep(0.01)
    raise AssertionError(current)


def results(client: TestClient, batch: dict[str, Any]) -> list[dict[str, Any]]:
    response = client.get(batch["results_url"])
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def uploads(settings: Settings) -> list[str]:
    """Return what is in the folder of uploads, once the texts of what has been scored are gone."""
    folder = settings.state_path / "uploads"
    for _ in range(500):
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "spool-id")
        if all("results-" in name for name in found if "/" in name):
            return found
        time.sleep(0.01)
    raise AssertionError(found)
