import json
import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER

BOARD: Final[dict[str, Any]] = json.loads(
    resources.files("service").joinpath("grafana/infinity_board.json").read_text(encoding="utf-8")
)
QUERIES: Final = [(panel, target) for panel in BOARD["panels"] for target in panel.get("targets", [])]
VARIABLE: Final = re.compile(r"\$\{([^}]+)\}|\$(\w+)")
TEXTS: Final = (
    "The court met on Monday.",
    "He claims that it rained.",
    "Вони таємно керують усім світом.",
    "Їх кілька, і вони таємно керують усім світом.",
    "Too short",
)


@pytest.fixture
def filled_client(client: TestClient) -> TestClient:
    """A service with scores of every label and two disputes."""
    statements = [{"text": text, "source": "wire"} for text in TEXTS]
    for result in client.post("/v1/score", json={"statements": statements}).json()["results"][1:3]:
        sent = {"score_id": result["score_id"], "proposed_label": "factual_report"}
        assert client.post("/v1/feedback", json=sent).status_code == 201
    return client


def values() -> dict[str, str]:
    """Return what Grafana puts in place of variables: the time range, and what the board chooses at first."""
    span = {"from": datetime.now(UTC) - timedelta(hours=1), "to": datetime.now(UTC) + timedelta(hours=1)}
    times = {f"__{name}:date:iso": f"{time:%Y-%m-%dT%H:%M:%S.000Z}" for name, time in span.items()}
    chosen = {v["name"]: v["current"].get("value", "uid-of-a-source") for v in BOARD["templating"]["list"]}
    return times | chosen


def fill_in(text: str, known: dict[str, str]) -> str:
    return VARIABLE.sub(lambda match: known[match[1] or match[2]], text)


def ask(client: TestClient, target: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask as Infinity does, and return the rows that its filter leaves."""
    known = values()
    params = {item["key"]: fill_in(item["value"], known) for item in target["url_options"]["params"]}
    response = client.request(target["url_options"]["method"], fill_in(target["url"], known), params=params)
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()[target["root_selector"]]
    if target["filterExpression"]:
        match = re.fullmatch(r"(\w+) == '(\w+)'", target["filterExpression"])
        assert match is not None
        (selector,) = (column["selector"] for column in target["columns"] if column["text"] == match[1])
        rows = [row for row in rows if row[selector] == match[2]]
    return rows


def has_type(value: Any, kind: str) -> bool:
    if kind == "timestamp":
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() == timedelta()
    expected = {"number": (int, float), "string": (str,), "boolean": (bool,)}[kind]
    return isinstance(value, expected) and (kind == "boolean" or not isinstance(value, bool))


@pytest.mark.parametrize(("panel", "target"), QUERIES, ids=[panel["title"] for panel, _ in QUERIES])
def test_every_query_of_the_board_finds_its_columns(
    filled_client: TestClient, panel: dict[str, Any], target: dict[str, Any]
) -> None:
    rows = ask(filled_client, target)
    assert rows
    for column in target["columns"]:
        found = [row[column["selector"]] for row in rows]
        given = [value for value in found if value is not None]
        assert given, column
        assert all(has_type(value, column["type"]) for value in given), column
    if target["format"] == "timeseries":
        times = [row["time"] for row in rows]
        assert times == sorted(times)
        assert target["columns"][0]["type"] == "timestamp"


@pytest.mark.parametrize(("panel", "target"), QUERIES, ids=[panel["title"] for panel, _ in QUERIES])
def test_every_query_is_for_the_backend_parser_and_the_chosen_time(
    panel: dict[str, Any], target: dict[str, Any]
) -> None:
    assert (target["type"], target["source"], target["parser"], target["root_selector"]) == (
        "json", "url", "backend", "rows"
    )  # fmt: skip
    source = {"type": "yesoreyeram-infinity-datasource", "uid": "${datasource}"}
    assert target["datasource"] == panel["datasource"] == source
    params = {item["key"]: item["value"] for item in target["url_options"]["params"]}
    assert (params["since"], params["until"]) == ("${__from:date:iso}", "${__to:date:iso}")
    assert target["url"].startswith("${base_url}/v1/")


def test_the_board_has_no_query_where_nothing_is_kept_that_fails(client: TestClient) -> None:
    for _, target in QUERIES:
        ask(client, target)


def test_the_board_carries_the_disclaimer() -> None:
    texts = [panel["options"]["content"] for panel in BOARD["panels"] if panel["type"] == "text"]
    assert any(DISCLAIMER in text for text in texts)


def test_every_variable_of_the_board_is_declared() -> None:
    declared = set(values()) | {"__field.labels.group"}
    used = {name for match in VARIABLE.finditer(json.dumps(BOARD["panels"])) for name in match.groups() if name}
    assert used <= declared
    assert set(values()) <= used


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    places = [
        (x, y)
        for grid in (panel["gridPos"] for panel in BOARD["panels"])
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
