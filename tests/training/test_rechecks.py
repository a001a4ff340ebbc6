"""Second and third looks: who is asked again, and whose word holds."""

import json
from pathlib import Path
from typing import Any

import pytest

import training.metrics
from credence.labels import Outcome
from training.labelling import Answer
from training.rechecks import decide, is_in_doubt, is_near_edge, main, settle

STORYLINE, ALLEGATION, FACT = Outcome.LIKELY_DISINFORMATION_NARRATIVE, Outcome.ALLEGATION, Outcome.FACTUAL_REPORT
BASE: dict[str, Any] = {
    "id": "a0",
    "set": "polnear",
    "lang": "en",
    "cluster": "c0",
    "label": STORYLINE,
    "rule": 3,
    "sure": 2,
    "labellers": 1,
}


@pytest.mark.parametrize(
    ("change", "is_near"),
    [
        ({}, True),
        ({"labellers": 2}, False),
        ({"label": ALLEGATION, "rule": 5}, True),
        ({"label": ALLEGATION, "rule": 4}, False),
        ({"label": ALLEGATION, "rule": 4, "set": "euvsdisinfo_titles"}, True),
        ({"label": ALLEGATION, "rule": 4, "set": "euvsdisinfo_titles", "sure": 3}, False),
    ],
)
def test_what_stands_near_the_edge_of_rule_3_is_looked_at_again(change: dict[str, Any], is_near: bool) -> None:
    assert is_near_edge({**BASE, **change}) is is_near


def test_a_second_labeller_who_agrees_confirms_the_label() -> None:
    assert settle(BASE, Answer(STORYLINE, 3, 3), None) == {**BASE, "sure": 3, "labellers": 2}


def test_where_two_differ_the_third_decides() -> None:
    settled = settle(BASE, Answer(ALLEGATION, 5, 2), Answer(ALLEGATION, 4, 3))
    assert settled == {**BASE, "label": ALLEGATION, "rule": 4, "sure": 3, "labellers": 3}
    kept = settle(BASE, Answer(ALLEGATION, 5, 2), Answer(STORYLINE, 3, 1))
    assert kept == {**BASE, "sure": 1, "labellers": 3}


@pytest.mark.parametrize("second", [None, Answer(None, 0, 0), Answer(FACT, 6, 3)])
def test_a_record_stays_as_it_is_until_the_look_is_finished(second: Answer | None) -> None:
    assert settle(BASE, second, None) == BASE


@pytest.mark.parametrize(
    ("change", "is_doubtful"),
    [
        ({"labellers": 3}, True),
        ({"set": "euvsdisinfo_titles"}, False),
        ({"set": "euvsdisinfo_titles", "label": ALLEGATION, "rule": 5}, True),
        ({"set": "euvsdisinfo_titles", "label": ALLEGATION, "rule": 5, "sure": 3}, False),
        ({"label": ALLEGATION, "rule": 5}, False),
    ],
)
def test_what_labellers_split_on_or_half_denied_stays_in_doubt(change: dict[str, Any], is_doubtful: bool) -> None:
    assert is_in_doubt({**BASE, **change}) is is_doubtful


def test_the_last_look_decides_where_there_was_one() -> None:
    split = {**BASE, "label": ALLEGATION, "rule": 5, "labellers": 3}
    assert decide(split, Answer(STORYLINE, 3, 2)) == {**BASE, "sure": 2, "labellers": 4}
    assert decide(split, None) == decide(split, Answer(None, 0, 0)) == split


def test_collecting_writes_the_settled_labels_and_says_how_far_labellers_agreed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 20)
    records, batches = tmp_path / "records", tmp_path / "batches"
    records.mkdir()
    batches.mkdir()
    rows = [{**BASE, "id": f"a{n}", "cluster": f"c{n}"} for n in range(13)]
    for row in rows[1::2]:
        row |= {"label": ALLEGATION, "rule": 5}
    path = records / "train_2.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    places = [{"drawing": "recheck", "reference": row["id"]} for row in rows[:12]]
    (batches / "key.json").write_text(json.dumps({"RA000": places, "RC000": places[1:2]}), encoding="utf-8")
    second = ["D\t3\t3", "F\t6\t2", *["D\t3\t3", "A\t5\t3"] * 5]
    answers = "".join(f"{number}\t{answer}\n" for number, answer in enumerate(second, start=1))
    (batches / "RA000.out").write_text(answers, encoding="utf-8")
    (batches / "RC000.out").write_text("1\tF\t6\t3\n", encoding="utf-8")
    assert main(["collect", "--batches", str(batches), "--records", str(records)]) == 0
    after = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(row["label"], row["labellers"]) for row in (*after[:3], after[12])] == [
        (STORYLINE, 2),
        (FACT, 3),
        (STORYLINE, 2),
        (STORYLINE, 1),
    ]
    said = capsys.readouterr().out
    assert "12 statements, agreed 0.917" in said
    assert f"{ALLEGATION} became {FACT}: 1" in said
