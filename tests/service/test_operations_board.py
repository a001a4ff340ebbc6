"""Whatever the Grafana board and the alert rules ask Prometheus for is there after a few requests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).parents[2] / "service" / "grafana"
METRIC = re.compile(r"\b((?:credence|process)_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|=|!=|!~)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|ignoring|on|group_left|group_right)\s*\(([^)]*)\)")
LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
Samples = dict[str, list[dict[str, str]]]


def load_board() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((FOLDER / "operations_board.json").read_text(encoding="utf-8"))
    return board


def load_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alert_rules.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board_targets() -> Iterator[dict[str, Any]]:
    for panel in load_board()["panels"]:
        yield from panel.get("targets", [])


QUERIES = sorted({target["expr"] for target in board_targets()} | {rule["expr"] for rule in load_rules()})


@pytest.fixture(scope="module")
def samples() -> Samples:
    return {}


@pytest.fixture
def served(client: TestClient, samples: Samples) -> Samples:
    """What is read after one request of each kind, by name."""
    if not samples:
        client.post("/v1/documents", json={"text": "The court met on Monday. He claims that it rained. Who knows why?"})
        client.post("/v1/score", json={"statements": [{"text": "Too short"}], "store": False})
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(sample.labels)
    return samples


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_and_label_of_a_query_is_there(query: str, served: Samples) -> None:
    metrics = METRIC.findall(query)
    assert metrics
    labels: set[str] = set()
    for name, matchers in metrics:
        assert name in served, name
        labels |= set().union(*served[name])
        for label, operator, value in MATCHER.findall(matchers):
            assert all(label in given for given in served[name]), f"{name} has no label {label}"
            # Which statuses there are depends on what went wrong so far.
            if label != "status" and operator in ("=", "=~"):
                assert any(re.fullmatch(value, given[label]) for given in served[name]), f"{name}: {label} {value}"
    used = {label.strip() for group in GROUPING.findall(query) for label in group.split(",") if label.strip()}
    assert used <= labels


def test_a_legend_names_only_what_the_query_keeps_apart() -> None:
    texts = [(target["legendFormat"], target["expr"]) for target in board_targets()]
    texts += [(rule["annotations"]["summary"], rule["expr"]) for rule in load_rules()]
    for text, query in texts:
        kept = {label.strip() for group in GROUPING.findall(query) for label in group.split(",")}
        assert set(LEGEND.findall(text)) <= kept, query


def test_the_board_can_be_imported_and_its_panels_do_not_overlap() -> None:
    board = load_board()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in board["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["description"].endswith(".")
            refs = [target["refId"] for target in panel["targets"]]
            assert len(set(refs)) == len(refs)


def test_every_metric_of_the_service_is_on_the_board(served: Samples) -> None:
    shown = {re.sub(r"_(bucket|sum|count|total)$", "", name) for query in QUERIES for name, _ in METRIC.findall(query)}
    names = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in served if name.startswith("credence_")}
    assert names - shown == set()


def test_the_rules_cover_what_an_operator_must_know_and_say_what_to_do() -> None:
    rules = {rule["alert"]: rule for rule in load_rules()}
    assert set(rules) == {
        f"Credence{what}"
        for what in (
            "NotReady",
            "Errors",
            "Slow",
            "QueueFull",
            "StorageErrors",
            "NoScores",
            "AbstentionShift",
            "LabelShift",
        )
    }
    for rule in rules.values():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")
