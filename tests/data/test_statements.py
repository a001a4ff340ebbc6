import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from credence.labels import LABELS, OUTCOMES, Outcome
from credence.language import SUPPORTED_LANGUAGES

STATEMENTS = Path(__file__).parents[2] / "datasets" / "statements"
FIELDS = ["id", "lang", "text", "label", "rule", "edge", "minimal_set", "traits"]
TRAITS = {"cue_words", "neutral_words", "headline", "post", "debunk"}
EDGES = {f"E{number:02}" for number in range(1, 39)}
# A minimal set, a contrast set, a pair about an edge.
SET_NAME = re.compile(r"[mce]\d{3}")
MEMBERS_OF_CONTRAST = ("D1", "D2", "A1", "A2", "F1", "F2", "F3", "N1")
LABEL_OF_RULE = {
    1: Outcome.NOT_A_CLAIM,
    2: Outcome.FACTUAL_REPORT,
    3: Outcome.LIKELY_DISINFORMATION_NARRATIVE,
    4: Outcome.ALLEGATION,
    5: Outcome.ALLEGATION,
    6: Outcome.FACTUAL_REPORT,
}

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    paths = sorted(STATEMENTS.glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def test_files_hold_one_object_a_line_with_unix_line_ends() -> None:
    for path in STATEMENTS.iterdir():
        raw = path.read_bytes()
        assert path.suffix == ".jsonl"
        assert raw.endswith(b"}\n")
        assert b"\r" not in raw
        assert not raw.startswith(b"\xef\xbb\xbf")


def test_every_row_has_the_fields_in_their_order(rows: list[Row]) -> None:
    assert {tuple(row) for row in rows} == {tuple(FIELDS)}


def test_every_field_has_a_value_of_its_kind(rows: list[Row]) -> None:
    assert {row["lang"] for row in rows} == set(SUPPORTED_LANGUAGES)
    assert {row["label"] for row in rows} == set(OUTCOMES)
    assert {row["edge"] for row in rows} <= EDGES | {None}
    assert {trait for row in rows for trait in row["traits"]} == TRAITS
    assert all(len(row["traits"]) == len(set(row["traits"])) for row in rows)
    assert all(row["minimal_set"] is None or SET_NAME.fullmatch(row["minimal_set"]) for row in rows)


def test_every_text_is_one_trimmed_line(rows: list[Row]) -> None:
    assert not [row["id"] for row in rows if row["text"] != " ".join(row["text"].split())]


def test_no_id_and_no_text_stands_twice(rows: list[Row]) -> None:
    ids = Counter(row["id"] for row in rows)
    texts = Counter(" ".join(re.findall(r"\w+", row["text"].casefold())) for row in rows)
    assert max(ids.values()) == 1
    assert [text for text, count in texts.items() if count > 1] == []


def test_there_are_enough_statements_of_every_outcome_in_every_language(rows: list[Row]) -> None:
    counts = Counter((row["lang"], row["label"]) for row in rows)
    assert len(rows) >= 1200
    assert len(counts) == len(SUPPORTED_LANGUAGES) * len(OUTCOMES)
    assert min(counts.values()) >= 100


def test_every_rule_gives_its_label(rows: list[Row]) -> None:
    assert not [row["id"] for row in rows if LABEL_OF_RULE[row["rule"]] != row["label"]]


@pytest.mark.parametrize("language", SUPPORTED_LANGUAGES)
def test_every_rule_and_every_edge_is_there_in_each_language(rows: list[Row], language: str) -> None:
    ours = [row for row in rows if row["lang"] == language]
    assert {row["rule"] for row in ours} == set(LABEL_OF_RULE)
    assert {row["edge"] for row in ours} - {None} >= {f"E{number:02}" for number in range(1, 32)}


def test_statements_are_as_long_as_the_codebook_says(rows: list[Row]) -> None:
    for row in rows:
        words = len(row["text"].split())
        shortest = 1 if row["label"] == Outcome.NOT_A_CLAIM else 4
        assert shortest <= words <= 75, row["id"]


def test_a_minimal_set_puts_one_content_under_each_label_in_each_language(rows: list[Row]) -> None:
    members = defaultdict(list)
    for row in rows:
        if (row["minimal_set"] or "").startswith("m"):
            members[row["minimal_set"]].append((row["lang"], row["label"]))
    every = sorted((language, label) for language in SUPPORTED_LANGUAGES for label in LABELS)
    assert len(members) >= 60
    assert {name for name, found in members.items() if sorted(found) != every} == set()


def test_a_contrast_set_tells_one_theme_in_eight_ways_in_each_language(rows: list[Row]) -> None:
    members = defaultdict(set)
    for row in rows:
        if (row["minimal_set"] or "").startswith("c"):
            _, language, member = row["id"].split("-")
            assert row["label"][0].upper() == {"D": "L"}.get(member[0].upper(), member[0].upper()), row["id"]
            members[row["minimal_set"]].add((language, member.upper()))
    every = {(language, member) for language in SUPPORTED_LANGUAGES for member in MEMBERS_OF_CONTRAST}
    assert len(members) >= 90
    assert {name for name, found in members.items() if found != every} == set()


def test_a_pair_about_an_edge_stands_in_each_language_with_two_labels_at_most(rows: list[Row]) -> None:
    pairs = defaultdict(list)
    for row in rows:
        if (row["minimal_set"] or "").startswith("e"):
            pairs[row["minimal_set"]].append(row)
    for name, members in pairs.items():
        assert sorted(row["lang"] for row in members) == sorted(2 * SUPPORTED_LANGUAGES), name
        assert {len({row["label"] for row in members if row["id"][-1] == side}) for side in "12"} == {1}, name


@pytest.mark.parametrize("trait", ["cue_words", "neutral_words"])
def test_words_give_no_label_away(rows: list[Row], trait: str) -> None:
    labels = Counter(row["label"] for row in rows if trait in row["traits"])
    assert set(labels) == set(OUTCOMES)
    assert min(labels.values()) >= 100


def test_a_debunk_is_a_factual_report(rows: list[Row]) -> None:
    assert {row["label"] for row in rows if "debunk" in row["traits"]} == {Outcome.FACTUAL_REPORT}
