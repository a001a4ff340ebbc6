"""Labels by hand: what goes out, what comes back, and that nothing is taken for granted in between."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import training.metrics
from credence.bundle import file_digest
from credence.labels import Outcome
from training.agreement import agreement
from training.annotations import collect
from training.corpora import Example, load_corpus
from training.labelling import dispute, hand_out
from training.sources import CorpusError
from training.stand_off import text_digest

# No two of them nearly alike, as in a drawing.
LINES = [f"A council: {text_digest(str(n))[:30]} {text_digest(f'{n} again')[:30]}." for n in range(130)]
GOLD = [
    Example(
        f"s{n}", f"Gold line number {n} of the council.", "en", Outcome.ALLEGATION, 4, 3, "train", f"g{n}", "gold/x"
    )
    for n in range(9)
]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 20)


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    folder = tmp_path / "candidates"
    folder.mkdir()
    for name, texts in (("learning", LINES[:120]), ("selection", LINES[120:])):
        rows = [
            {"set": "tiny", "line": LINES.index(t) + 1, "start_char": 2, "end_char": 2 + len(t), "language": "en"}
            | {"cluster": text_digest(t)[:12], "text": t}
            for t in texts
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def batches(tmp_path: Path, candidates: Path) -> Path:
    hand_out(tmp_path / "batches", candidates, GOLD, seed=1)
    return tmp_path / "batches"


def answer(path: Path, code: str = "F", rule: int = 6, sure: int = 3) -> None:
    n = len(path.read_text(encoding="utf-8").splitlines())
    lines = (f"{i}\t{code}\t{rule}\t{sure}\n" for i in range(1, n + 1))
    path.with_suffix(".out").write_text("".join(lines), encoding="utf-8")


def answer_all(batches: Path) -> None:
    for path in batches.glob("*.tsv"):
        answer(path)


def test_a_labeller_sees_number_language_and_text_alone(batches: Path) -> None:
    for path in batches.glob("*.tsv"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            shown, language, text = line.split("\t")
            assert (shown, language) == (str(number), "en")
            assert text in {*LINES, *(e.text for e in GOLD)}


def test_each_learning_batch_holds_statements_of_gold(batches: Path) -> None:
    key = json.loads((batches / "key.json").read_text(encoding="utf-8"))
    learning = {name: places for name, places in key.items() if name.startswith("L")}
    assert [sum(p["drawing"] == "gold" for p in places) for places in learning.values()] == [3, 3, 3]
    assert sum(p["drawing"] == "learning" for places in learning.values() for p in places) == 120


def test_the_selection_goes_out_twice_in_two_orders(batches: Path) -> None:
    first, second = ((batches / f"{side}00.tsv").read_text(encoding="utf-8").splitlines() for side in ("SA", "SB"))
    texts = [[line.split("\t")[2] for line in lines] for lines in (first, second)]
    assert sorted(texts[0]) == sorted(texts[1])
    assert texts[0] != texts[1]


def test_answers_become_records_without_text(batches: Path, candidates: Path) -> None:
    answer_all(batches)
    records = collect(batches, candidates)
    assert [len(records["train"]), len(records["dev"])] == [120, 10]
    assert records["train"][0]["text_sha256"] == text_digest(LINES[0])
    assert "council" not in json.dumps(records)
    assert {r["labellers"] for r in records["dev"]} == {2}


def test_where_two_labels_differ_a_third_decides(batches: Path, candidates: Path) -> None:
    answer_all(batches)
    answer(batches / "SB00.tsv", "A", 4, 1)
    assert dispute(batches, candidates, seed=1) == 10
    answer(batches / "SC00.tsv", "N", 1, 2)
    dev = collect(batches, candidates)["dev"]
    assert {(r["label"], r["rule"], r["sure"], r["labellers"]) for r in dev} == {("not_a_claim", 1, 2, 3)}


def test_nothing_that_an_earlier_wave_holds_back_or_has_labelled_is_learned(batches: Path, candidates: Path) -> None:
    answer_all(batches)
    held_back = record(split="dev", text_sha256="0" * 64, cluster=text_digest(LINES[0])[:12])
    labelled = record(text_sha256=text_digest(LINES[1]))
    assert len(collect(batches, candidates, earlier=[held_back, labelled])["train"]) == 118


def test_nothing_is_selected_on_that_shares_a_cluster_with_gold(batches: Path, candidates: Path) -> None:
    answer_all(batches)
    assert len(collect(batches, candidates, gold_clusters={text_digest(LINES[120])[:12]})["dev"]) == 9


def test_a_second_wave_needs_a_folder_of_its_own(batches: Path, candidates: Path) -> None:
    with pytest.raises(CorpusError, match="holds L000 already"):
        hand_out(batches, candidates, GOLD, seed=2)


def test_a_selection_that_is_not_wholly_answered_is_refused(batches: Path, candidates: Path) -> None:
    answer_all(batches)
    answer(batches / "SB00.tsv", "A", 4)
    with pytest.raises(CorpusError, match="third labeller"):
        collect(batches, candidates)
    (batches / "SB00.out").unlink()
    with pytest.raises(CorpusError, match="SB lacks answers to 10"):
        collect(batches, candidates)


def test_an_answer_to_no_batch_is_refused(batches: Path, candidates: Path) -> None:
    answer_all(batches)
    (batches / "L0-old.out").write_text("1\tF\t6\t3\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="L0-old"):
        collect(batches, candidates)


def test_a_line_that_cannot_be_labelled_is_left_out(batches: Path, candidates: Path) -> None:
    answer_all(batches)
    answer(batches / "L000.tsv", "X", 0, 1)
    assert len(collect(batches, candidates)["train"]) == 120 - 57


@pytest.mark.parametrize("line", ["1\tQ\t6\t3\n", "1\tD\t6\t3\n", "1\tF\t6\t4\n", "1\tF\t6\n", "2\tF\t6\t3\n", ""])
def test_an_answer_of_another_form_is_refused_naming_its_file(batches: Path, candidates: Path, line: str) -> None:
    answer_all(batches)
    (batches / "SA00.out").write_text(line + "".join(f"{i}\tF\t6\t3\n" for i in range(2, 11)), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"SA00\.out"):
        collect(batches, candidates)


def test_agreement_beyond_chance_is_one_for_equal_labels_and_none_for_a_constant_labeller() -> None:
    labels = [Outcome.FACTUAL_REPORT, Outcome.ALLEGATION] * 20
    equal = [(a, a, "en", str(i)) for i, a in enumerate(labels)]
    assert agreement(equal)[0][:3] == ("all", 40, 1.0)
    assert agreement(equal)[0][3].startswith("1.000")
    constant = [(a, Outcome.ALLEGATION, "uk", str(i)) for i, a in enumerate(labels)]
    assert [row[0] for row in agreement(constant)] == ["all", "uk"]
    assert agreement(constant)[0][2] == 0.5
    assert agreement(constant)[0][3].startswith("0.000")


@pytest.fixture
def pack(tmp_path: Path) -> tuple[Path, Path]:
    """A data pack with one set and one line of gold a split, and the folder of its records."""
    pack, datasets = tmp_path / "pack", tmp_path / "datasets"
    for folder in (pack / "sets", pack / "gold", datasets / "gold", datasets / "annotations", datasets / "statements"):
        folder.mkdir(parents=True)
    file = pack / "sets" / "tiny.jsonl.gz"
    rows = (json.dumps({"text": f"- {text}", "date": "2023-05-01"}) + "\n" for text in LINES)
    file.write_bytes(gzip.compress("".join(rows).encode()))
    entry = f'[sources.tiny]\nfile = "sets/tiny.jsonl.gz"\nlicence = "own"\nsha256 = "{file_digest(file)}"\n[gold]\n'
    (datasets / "sources.toml").write_text(entry, encoding="utf-8")
    for split in ("train", "dev", "test"):
        for folder in (pack, datasets):
            (folder / "gold" / f"{split}.jsonl").write_text("", encoding="utf-8")
    return pack, datasets


def record(**changes: Any) -> dict[str, Any]:
    row = {"id": "a1", "set": "tiny", "line": 5, "start_char": 2, "end_char": 2 + len(LINES[4])}
    row |= {"text_sha256": text_digest(LINES[4]), "lang": "en", "label": "factual_report", "rule": 6, "sure": 3}
    return {**row, "labellers": 1, "split": "train", "cluster": "tiny:5", **changes}


def load(pack: tuple[Path, Path], row: dict[str, Any]) -> list[Example]:
    (pack[1] / "annotations" / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return list(load_corpus(("gold", "annotations"), pack[0], datasets_dir=pack[1]).examples)


def test_a_record_finds_its_characters_of_its_line_again(pack: tuple[Path, Path]) -> None:
    (example,) = load(pack, record())
    assert (example.text, example.origin, example.date) == (LINES[4], "annotations/tiny", "2023-05-01")


@pytest.mark.parametrize("changes", [{"line": 6}, {"start_char": 3}])
def test_a_record_of_another_text_is_refused_without_showing_it(
    pack: tuple[Path, Path], changes: dict[str, object]
) -> None:
    with pytest.raises(CorpusError, match=r"annotations/train\.jsonl line 1: row a1 .* SHA-256") as caught:
        load(pack, record(**changes))
    assert "council" not in str(caught.value)


def test_a_pack_without_the_sets_is_told_so(pack: tuple[Path, Path]) -> None:
    (pack[0] / "sets" / "tiny.jsonl.gz").unlink()
    with pytest.raises(CorpusError, match=r"sets/tiny\.jsonl\.gz cannot be read"):
        load(pack, record())


def test_a_set_that_broke_off_is_told_so(pack: tuple[Path, Path]) -> None:
    file = pack[0] / "sets" / "tiny.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CorpusError, match="cannot be read"):
        load(pack, record(line=130, start_char=0, end_char=5))


@pytest.mark.parametrize("changes", [{"line": 500}, {"set": "unheard"}])
def test_a_record_that_the_pack_does_not_hold_is_named(pack: tuple[Path, Path], changes: dict[str, object]) -> None:
    with pytest.raises(CorpusError, match=r"annotations/train\.jsonl line 1: .* has no line"):
        load(pack, record(**changes))
