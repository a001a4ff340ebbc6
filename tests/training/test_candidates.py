"""What may be drawn for labelling, and in which shares."""

from collections import Counter

import numpy as np
import pytest

from training import drawing
from training.candidates import keep_unseen, main
from training.drawing import Candidate, draw_learning, draw_selection


def make(n: int, *, origin: str = "tiny", language: str = "en", text: str | None = None) -> Candidate:
    cluster = f"{origin}:{n // 2}"
    return Candidate(origin, n, 0, 40, language, cluster, text or f"Statement {n * 7919} of the set {origin}.")


def test_repeated_texts_and_near_duplicates_of_gold_are_left_out() -> None:
    gold = ["The mayor of Sumy opened the second bridge over the river on Monday morning."]
    fresh = make(1, text="Prices of bread in Riga rose by two percent in the spring quarter.")
    same = make(2, text=fresh.text.upper())
    close = make(3, text=gold[0].replace("Monday", "Tuesday"))
    equal = make(4, text=gold[0].replace(" ", "  "))
    assert keep_unseen([fresh, same, close, equal], gold) == [fresh]


def test_a_selection_keeps_the_proportions_and_takes_one_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_SELECTION_ROWS", 30)
    pool = [make(n, origin=origin) for origin in ("large", "small") for n in range(100)]
    proportions = Counter({("large", "en"): 20, ("small", "en"): 10})
    drawn = draw_selection(pool, proportions, np.random.default_rng(1))
    assert Counter(c.set for c in drawn) == {"large": 20, "small": 10}
    assert len({c.cluster for c in drawn}) == 30


@pytest.fixture
def pool() -> list[Candidate]:
    return [make(n, language=language) for language in ("en", "uk", "ru") for n in range(200)]


def test_learning_draws_no_statement_twice_and_as_many_a_language_as_asked(pool: list[Candidate]) -> None:
    rows = {"en": 20, "uk": 60, "ru": 40}
    drawn = draw_learning(pool, np.full((600, 4), 0.25), np.random.default_rng(1), rows=rows)
    assert Counter(c.language for c in drawn) == {"en": 20, "uk": 60, "ru": 40}
    assert len(set(drawn)) == len(drawn)


def test_statements_that_look_like_storylines_are_drawn_more_often(pool: list[Candidate]) -> None:
    rows = {"en": 40, "uk": 40, "ru": 40}
    probabilities = np.tile([0.97, 0.01, 0.01, 0.01], (600, 1))
    probabilities[::5] = [0.04, 0.03, 0.90, 0.03]
    drawn = draw_learning(pool, probabilities, np.random.default_rng(1), rows=rows)
    storylines = sum(c.line % 5 == 0 for c in drawn)
    assert storylines / len(drawn) > 0.4


def test_the_same_seed_draws_the_same(pool: list[Candidate]) -> None:
    rows = {"en": 10, "uk": 10, "ru": 10}
    alike = np.full((600, 4), 0.25)
    first, second = (draw_learning(pool, alike, np.random.default_rng(5), rows=rows) for _ in range(2))
    assert first == second


def test_what_is_short_is_drawn_whole(pool: list[Candidate]) -> None:
    rows = {"en": 500, "uk": 10, "ru": 10}
    drawn = draw_learning(pool, np.full((600, 4), 0.25), np.random.default_rng(1), rows=rows, shares={"random": 1.0})
    assert Counter(c.language for c in drawn) == {"en": 200, "uk": 10, "ru": 10}


@pytest.mark.parametrize("options", [["--rows", "pl=5"], ["--share", "random"], ["--set", "no_such_set"]])
def test_an_option_that_names_nothing_known_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--again", *options]) == 2
    assert options[1].partition("=")[0] in capsys.readouterr().err
