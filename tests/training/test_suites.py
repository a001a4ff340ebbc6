import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from credence.labels import CODEBOOK_VERSION, Outcome
from credence.normalise import normalise_text
from credence.scoring import DocumentScore, ModelInfo, StatementScore, roll_up
from training.perturbations import PERTURBATIONS, misspell, respell_yo_and_apostrophe
from training.sources import DATASETS_DIR
from training.splits import assign_split
from training.stand_off import text_digest
from training.suites import (
    NTREX_FILE,
    NTREX_PAIRS,
    SuiteResult,
    draw_ntrex,
    read_held_back_minimal_sets,
    read_suite,
    run_suites,
)

FACT, ALLEGATION, STORYLINE, NO_CLAIM = Outcome
LANGUAGES = ("en", "uk", "ru")
SUITES = sorted(path.stem for path in (DATASETS_DIR / "suites").glob("*.jsonl"))
TEXTS = [statement.text for name in SUITES for statement in read_suite(name)]
HELD_BACK_SET = next(name for name in map("m{:03}".format, range(1000)) if assign_split(name) == "test")
NUMBER = re.compile(r"\d+")
# In letters, at the least and at the most; whatever is not named keeps the length of a text.
GROWTH = {"typos": (-10, 10), "no_punctuation": (-30, 0), "list_dash": (2, 2)}


class TableScorer:
    """A scorer that looks the outcome of a text up, and gives every other text the same one."""

    def __init__(self, otherwise: Outcome | None, known: Mapping[str, Outcome] | None = None) -> None:
        self._otherwise = otherwise
        self._known = known or {}
        self.asked: list[str] = []

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("table", "0" * 64, "none", CODEBOOK_VERSION, "", {})

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        self.asked.extend(texts)
        return [self._score(text) for text in texts]

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        statements = tuple(self.score_statements([text]))
        return DocumentScore(statements, roll_up(statements), False, "table", "0" * 64)

    def _score(self, text: str) -> StatementScore:
        outcome = self._known.get(text, self._otherwise)
        return StatementScore(
            label=None,
            reason=None,
            outcome=outcome,
            scores=None,
            confidence=None,
            prediction_set=None,
            language=None,
            start_char=0,
            end_char=len(text),
            is_cut=False,
            read_end_char=len(text),
            model_version="table",
            bundle_digest="0" * 64,
        )


def results_of(scorer: TableScorer, **options: Any) -> dict[str, SuiteResult]:
    return {result.name: result for result in run_suites(scorer, data_pack=None, **options)}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


def row_of(group: str, language: str, text: str, label: Outcome) -> dict[str, str]:
    return {"id": f"{group}-{text}", "lang": language, "text": text, "label": label, "group": group}


@pytest.fixture
def small_datasets(tmp_path: Path) -> Path:
    """Return a folder where every suite has one or two groups of texts of one letter."""
    groups = {
        "translations": [("t1", FACT, "abc"), ("t2", FACT, "def")],
        "exchanged_sides": [("x1", FACT, "gh"), ("x2", ALLEGATION, "ij")],
        "debunks": [("d1", FACT, "k"), ("d2", FACT, "l")],
        "attributed_storylines": [("s1", ALLEGATION, "m"), ("s2", ALLEGATION, "n")],
        "names_and_numbers": [("n1", FACT, "op")],
    }
    for name, found in groups.items():
        rows = [
            row_of(group, lang, text, label)
            for group, label, texts in found
            for lang, text in zip(LANGUAGES, texts, strict=False)
        ]
        write_rows(tmp_path / "suites" / f"{name}.jsonl", rows)
    for name, text, label in (("attribution", "q", STORYLINE), ("hedges", "s", FACT)):
        rows = [row_of(name, "en", text, label), row_of(name, "en", chr(ord(text) + 1), ALLEGATION)]
        write_rows(tmp_path / "suites" / f"{name}.jsonl", rows)
    rows = [
        row_of("", "en", text, label) | {"minimal_set": HELD_BACK_SET}
        for text, label in (("u", FACT), ("v", STORYLINE))
    ]
    write_rows(tmp_path / "statements" / "minimal_sets_a.jsonl", rows)
    return tmp_path


def test_the_suites_come_in_a_fixed_order_under_names_of_their_own() -> None:
    results = run_suites(TableScorer(FACT), data_pack=None)
    names = [result.name for result in results]
    assert len(set(names)) == len(names)
    assert set(names) == {*SUITES, *PERTURBATIONS, "minimal_sets", "debunks_and_attributed"}
    assert names[0] == "translations"


def test_a_scorer_with_one_answer_is_always_consistent_and_never_moves() -> None:
    results = results_of(TableScorer(STORYLINE))
    consistent = {"translations", "exchanged_sides", "names_and_numbers", *PERTURBATIONS}
    assert {results[name].rate.value for name in consistent} == {1.0}
    assert {results[name].rate.value for name in ("attribution", "hedges", "minimal_sets")} == {0.0}
    assert {name for name, result in results.items() if result.better == "lower"} == {
        "debunks",
        "attributed_storylines",
        "debunks_and_attributed",
    }
    assert results["debunks"].rate.value == results["attributed_storylines"].rate.value == 1.0
    assert len(results["debunks_and_attributed"].failures) == results["debunks_and_attributed"].cases


def test_a_scorer_that_knows_every_label_has_no_failure() -> None:
    statements = [statement for name in SUITES for statement in read_suite(name)] + read_held_back_minimal_sets()
    results = results_of(TableScorer(FACT, {s.text: s.label for s in statements}))
    asked = {*SUITES, "minimal_sets", "debunks_and_attributed"}
    assert {name: result.failures for name, result in results.items() if name in asked} == dict.fromkeys(asked, ())


def test_rates_are_those_counted_by_hand(small_datasets: Path) -> None:
    # Wrong: one translation of three, one side of two, one debunk of two, one end of a directional pair.
    wrong = {"c": ALLEGATION, "h": NO_CLAIM, "k": STORYLINE, "q": STORYLINE, "r": STORYLINE, "v": STORYLINE}
    results = results_of(TableScorer(FACT, wrong), datasets_dir=small_datasets)
    assert results["translations"].cases == 6
    assert results["translations"].rate.value == pytest.approx(4 / 6)
    assert results["translations"].failures == ("t1-a~t1-c", "t1-b~t1-c")
    assert results["exchanged_sides"].rate.value == 0.5
    assert results["exchanged_sides"].failures == ("x1-g~x1-h",)
    assert results["debunks"].rate.value == 0.5
    assert results["debunks"].failures == ("d1-k",)
    assert results["attributed_storylines"].rate.value == 0.0
    assert results["debunks_and_attributed"].rate.value == 0.25
    assert results["attribution"].failures == ("attribution",)
    assert results["minimal_sets"].rate.value == 1.0


def test_a_rate_lies_within_its_interval_and_the_interval_within_bounds(small_datasets: Path) -> None:
    for result in results_of(TableScorer(FACT, {"c": STORYLINE, "k": STORYLINE}), datasets_dir=small_datasets).values():
        assert 0 <= result.rate.low <= result.rate.value <= result.rate.high <= 1


def test_the_interval_resamples_groups_and_not_cases(small_datasets: Path) -> None:
    # Of two groups one is consistent and one is not: resampling groups reaches both ends.
    rate = results_of(TableScorer(FACT, {"b": ALLEGATION, "c": NO_CLAIM}), datasets_dir=small_datasets)[
        "translations"
    ].rate
    assert (rate.low, rate.value, rate.high) == (0.0, 0.5, 1.0)


def test_a_text_that_is_not_scored_counts_as_no_claim(small_datasets: Path) -> None:
    unscored = results_of(TableScorer(None), datasets_dir=small_datasets)
    assert unscored == results_of(TableScorer(NO_CLAIM), datasets_dir=small_datasets)


def test_no_text_is_scored_twice(small_datasets: Path) -> None:
    scorer = TableScorer(FACT)
    run_suites(scorer, data_pack=None, datasets_dir=small_datasets)
    assert len(scorer.asked) == len(set(scorer.asked))


def test_minimal_sets_that_are_learned_from_are_left_out() -> None:
    statements = read_held_back_minimal_sets()
    assert statements
    assert len({s.group for s in statements}) * 3 == len(statements)
    assert len({s.group.split("-")[0] for s in statements}) < 20


def ntrex_rows(n_pairs: int) -> list[dict[str, Any]]:
    return [{"text": f"line {n} {lang}", "lang": lang, "pair_id": n} for n in range(n_pairs) for lang in LANGUAGES]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return a folder of hand labels, where one sentence of pair 5 and one of pair 8 has one."""
    folder = tmp_path / "labels"
    write_rows(folder / "gold" / "train.jsonl", [{"text_sha256": text_digest("line 5 uk")}])
    write_rows(folder / "annotations" / "train.jsonl", [{"text_sha256": text_digest("line 8 en")}])
    return folder


def test_the_drawing_of_parallel_news_does_not_depend_on_the_order_of_rows(tmp_path: Path, labelled: Path) -> None:
    rows = ntrex_rows(NTREX_PAIRS + 50)
    write_rows(tmp_path / "one" / NTREX_FILE, rows)
    write_rows(tmp_path / "other" / NTREX_FILE, sorted(rows, key=lambda row: -row["pair_id"]))
    one = draw_ntrex(tmp_path / "one", datasets_dir=labelled)
    assert one == draw_ntrex(tmp_path / "other", datasets_dir=labelled)
    assert len({s.group for s in one}) == NTREX_PAIRS
    assert len(one) == 3 * NTREX_PAIRS


def test_a_pair_with_a_hand_label_is_passed_over_and_the_others_stay(tmp_path: Path, labelled: Path) -> None:
    write_rows(tmp_path / "pack" / NTREX_FILE, ntrex_rows(NTREX_PAIRS))
    drawn = {s.group for s in draw_ntrex(tmp_path / "pack", datasets_dir=labelled)}
    everything = {s.group for s in draw_ntrex(tmp_path / "pack", datasets_dir=tmp_path)}
    assert everything - drawn == {"ntrex_parallel_news-5", "ntrex_parallel_news-8"}


def test_parallel_news_are_a_suite_where_there_is_a_data_pack(tmp_path: Path, small_datasets: Path) -> None:
    write_rows(tmp_path / "pack" / NTREX_FILE, ntrex_rows(4))
    scorer = TableScorer(FACT, {"line 2 ru": ALLEGATION})
    results = run_suites(scorer, data_pack=tmp_path / "pack", datasets_dir=small_datasets)
    found = next(result for result in results if result.name == "translations_ntrex")
    assert found.cases == 12
    assert found.rate.value == pytest.approx(10 / 12)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_always_changes_a_text_in_the_same_way(name: str) -> None:
    perturb = PERTURBATIONS[name]
    assert [perturb(text) for text in TEXTS] == [perturb(text) for text in reversed(TEXTS)][::-1]


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_changes_something_and_keeps_the_length_within_bounds(name: str) -> None:
    perturbed = [PERTURBATIONS[name](text) for text in TEXTS]
    shortest, longest = GROWTH.get(name, (0, 0))
    assert sum(a != b for a, b in zip(TEXTS, perturbed, strict=True)) >= 50
    assert all(shortest <= len(b) - len(a) <= longest for a, b in zip(TEXTS, perturbed, strict=True))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_touches_neither_numbers_nor_what_a_label_may_hang_on(name: str) -> None:
    for text in TEXTS:
        perturbed = PERTURBATIONS[name](text)
        assert NUMBER.findall(text) == NUMBER.findall(perturbed)
        assert [text.count(mark) for mark in ":?"] == [perturbed.count(mark) for mark in ":?"]


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_text_with_nothing_to_change_comes_back(name: str) -> None:
    if name != "list_dash":
        assert PERTURBATIONS[name]("12 = 3 X 4") == "12 = 3 X 4"


def test_a_typo_leaves_names_alone() -> None:
    for text in TEXTS:
        before, after = (re.findall(r"\b[A-ZА-ЯЁІЇЄҐ]\w*", found) for found in (text, misspell(text)))
        assert before == after


def test_look_alike_letters_are_undone_by_the_normal_form_of_nearly_every_text() -> None:
    undone = [normalise_text(PERTURBATIONS["lookalike_letters"](text)).text == text for text in TEXTS]
    assert sum(undone) >= 0.95 * len(TEXTS)


def test_quotation_marks_and_apostrophes_go_round_and_come_back() -> None:
    text = 'He said «so», and "so" they wrote: “м\'ята”.'
    turned = text
    for _ in range(3):
        turned = respell_yo_and_apostrophe(PERTURBATIONS["quotes"](turned))
    assert turned == text


def test_punctuation_inside_a_number_stays() -> None:
    assert PERTURBATIONS["no_punctuation"]("Prices (all) rose by 2,300.5 — or so, he said.") == (
        "Prices all rose by 2,300.5 or so he said"
    )
