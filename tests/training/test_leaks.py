"""Held-back statements in another guise are found among what is learned, and nothing else is."""

import json
from pathlib import Path

import numpy as np
import pytest

from training import leaks
from training.leaks import Guarded, Leak, drop_rows, find_echoes, find_leaks
from training.metrics import Floats
from training.stand_off import learned_record_paths

VECTORS = {"a translation": [1.0, 0.0], "переклад": [0.99, 0.14], "another line": [0.0, 1.0]}


@pytest.fixture(autouse=True)
def _known_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(texts: list[str]) -> Floats:
        return np.array([VECTORS.get(text, [0.0, -1.0]) for text in texts])

    monkeypatch.setattr(leaks, "_embed", embed)


def make(name: str, text: str, *, language: str = "en", origin: str = "polnear", url: str | None = None) -> Guarded:
    return Guarded(name, origin, language, text, url)


def test_a_sentence_of_a_held_back_article_leaks() -> None:
    held_back = [make("h", "One line.", origin="basil", url="https://one")]
    learned = [
        make("same", "Another line.", origin="basil", url="https://one"),
        make("other", "Another line yet.", origin="basil", url="https://two"),
        make("page", "A line of a page that lists many items.", url="https://one"),
    ]
    assert find_leaks(learned, held_back) == {"same": Leak("h", "same document")}


def test_a_text_that_holds_most_of_a_held_back_one_leaks() -> None:
    text = "The council of the small town voted for a new bridge on Monday evening"
    held_back = [make("h", text)]
    learned = [
        make("longer", f"Officials met before noon. {text}, and everybody went home in the rain after that."),
        make("cut", text.removesuffix(" on Monday evening")),
        make("phrase", "In another place the council of the small town voted against it, to the surprise of all."),
    ]
    assert set(find_leaks(learned, held_back)) == {"longer", "cut"}


def test_a_translation_within_a_set_of_parallel_texts_leaks() -> None:
    held_back = [make("h", "переклад", language="uk", origin="vox_debunk_sentences")]
    learned = [
        make("translated", "a translation", origin="vox_debunk_sentences"),
        make("unlike", "another line", origin="vox_debunk_sentences"),
        make("elsewhere", "a translation", origin="narrative_catalogue"),
        make("same language", "a translation", language="uk", origin="vox_debunk_sentences"),
    ]
    assert find_leaks(learned, held_back) == {"translated": Leak("h", "a translation (cosine 0.99)")}


def test_a_statement_of_our_own_that_says_what_a_held_back_one_says_is_an_echo() -> None:
    held_back = [make("h", "переклад", language="uk")]
    written = [make("near", "a translation", origin="statements/"), make("far", "another line", origin="statements/")]
    assert find_echoes(written, held_back) == {"near": Leak("h", "an echo (cosine 0.99)")}


@pytest.mark.parametrize(("content", "found"), [("", "no statements"), ('{"id": "x"}', "lang"), ("[1]", "line 1")])
def test_a_file_that_holds_no_statements_of_our_own_is_told_before_anything_is_compared(
    tmp_path: Path, content: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text(content + "\n", encoding="utf-8")
    assert leaks.main(["--statements", str(path)]) == 2
    assert found in capsys.readouterr().err


def test_dropping_takes_out_what_leaks_and_nothing_else(tmp_path: Path) -> None:
    for name in ("train", "train_2", "dev"):
        rows = [{"id": f"{name}-{n}"} for n in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    drop_rows(learned_record_paths(tmp_path), {"train-1", "dev-1"})
    left = [json.loads(x)["id"] for p in sorted(tmp_path.iterdir()) for x in p.read_text(encoding="utf-8").splitlines()]
    assert left == ["dev-0", "dev-1", "dev-2", "train-0", "train-2", "train_2-0", "train_2-1", "train_2-2"]
