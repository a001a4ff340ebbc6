import json
import re
from pathlib import Path
from typing import Any

import pytest

from credence.labels import OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from training.candidates import LEAKING_LINES
from training.labelling import RULES
from training.sources import public_sets

ANNOTATIONS = Path(__file__).parents[2] / "datasets" / "annotations"
FIELDS = ["id", "set", "line", "start_char", "end_char", "text_sha256", "lang", "label", "rule", "sure", "labellers"]
FIELDS += ["split", "cluster"]

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    paths = sorted(ANNOTATIONS.glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_record_stands_apart_from_its_text(rows: list[Row]) -> None:
    assert {tuple(row) for row in rows} == {tuple(FIELDS)}
    assert not [row["id"] for row in rows if " " in "".join(map(str, row.values()))]
    assert not [row["id"] for row in rows if not re.fullmatch("[0-9a-f]{64}", row["text_sha256"])]


def test_a_record_points_into_a_known_set(rows: list[Row]) -> None:
    sets = public_sets()
    assert {row["set"] for row in rows} <= set(sets)
    assert not [row["id"] for row in rows if not 1 <= row["line"] <= sets[row["set"]]["rows"]]
    assert not [row["id"] for row in rows if not 0 <= row["start_char"] < row["end_char"]]


def test_no_record_comes_from_a_line_that_holds_a_held_back_statement(rows: list[Row]) -> None:
    assert not [row["id"] for row in rows if row["line"] in LEAKING_LINES.get(row["set"], ())]


@pytest.mark.parametrize("field", ["id", "text_sha256"])
def test_no_statement_stands_twice(rows: list[Row], field: str) -> None:
    assert len({row[field] for row in rows}) == len(rows)


def test_labels_rules_and_certainty_fit_together(rows: list[Row]) -> None:
    assert not [row["id"] for row in rows if row["rule"] not in RULES[row["label"]]]
    assert {row["sure"] for row in rows} == {1, 2, 3}
    assert {row["label"] for row in rows} == set(OUTCOMES)
    assert {row["lang"] for row in rows} == set(SUPPORTED_LANGUAGES)


def test_what_is_selected_on_was_labelled_twice_and_shares_no_cluster_with_what_is_learned(rows: list[Row]) -> None:
    dev, train = ([row for row in rows if row["split"] == split] for split in ("dev", "train"))
    assert len(dev) > 700
    assert {row["labellers"] for row in dev} == {2, 3}
    assert not {row["cluster"] for row in dev} & {row["cluster"] for row in train}
