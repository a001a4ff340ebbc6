import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from credence.labels import OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from training.corpora import SPLITS
from training.labelling import RULES

GOLD = Path(__file__).parents[2] / "datasets" / "gold"
FIELDS = ["id", "text_sha256", "lang", "label", "rule", "sure", "split", "cluster", "origin"]
Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    paths = [GOLD / f"{split}.jsonl" for split in SPLITS]
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_record_stands_apart_from_its_text(rows: list[Row]) -> None:
    assert {tuple(row) for row in rows} == {tuple(FIELDS)}
    # Ids, labels and names of sets are short and have no spaces; a text would not fit in.
    assert not [row["id"] for row in rows for value in row.values() if not re.fullmatch(r"[\w-]{1,64}", str(value))]


def test_a_record_says_which_text_it_belongs_to(rows: list[Row]) -> None:
    assert not [row["id"] for row in rows if not re.fullmatch("[0-9a-f]{64}", row["text_sha256"])]


@pytest.mark.parametrize("field", ["id", "text_sha256"])
def test_no_statement_stands_twice(rows: list[Row], field: str) -> None:
    assert len({row[field] for row in rows}) == len(rows)


def test_no_split_cuts_through_a_cluster(rows: list[Row]) -> None:
    splits = defaultdict(set)
    for row in rows:
        splits[row["cluster"]].add(row["split"])
    assert {cluster for cluster, found in splits.items() if len(found) > 1} == set()


def test_splits_keep_their_size() -> None:
    sizes = {}
    for split in SPLITS:
        lines = (GOLD / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        assert {json.loads(line)["split"] for line in lines} == {split}
        sizes[split] = len(lines)
    assert sizes == {"train": 4349, "dev": 471, "test": 832}


def test_rules_and_labels_agree(rows: list[Row]) -> None:
    assert {row["label"] for row in rows} == set(OUTCOMES)
    assert not [row["id"] for row in rows if row["rule"] not in RULES[row["label"]]]
    assert {row["sure"] for row in rows} == {1, 2, 3}


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_every_outcome_in_every_language(rows: list[Row], split: str) -> None:
    counts = Counter((row["lang"], row["label"]) for row in rows if row["split"] == split)
    assert set(counts) == {(language, outcome) for language in SUPPORTED_LANGUAGES for outcome in OUTCOMES}
