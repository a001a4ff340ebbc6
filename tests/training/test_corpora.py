"""Rebuilding the corpus from a data pack: the join, every digest, and messages that name the row."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from credence.labels import OUTCOMES
from training.corpora import data_pack_path, load_corpus, main
from training.sources import CorpusError, check_sources, source_licences
from training.splits import LeakError, assign_split
from training.stand_off import text_digest

GOLD = {
    "train": "The council opened a second tram line to the port on Monday.",
    "dev": "Рятувальники загасили пожежу на складі під Полтавою.",
    "test": "Врачи областной больницы провели сто операций за неделю.",
}
LANGUAGES = {"train": "en", "dev": "uk", "test": "ru"}
OWN = {"en": "Officials insist the dam was inspected twice.", "uk": "А що буде завтра?"}


@dataclass(frozen=True)
class TinyData:
    pack: Path
    datasets: Path

    def load(self) -> list[str]:
        return [e.text for e in load_corpus(("gold", "statements"), self.pack, datasets_dir=self.datasets).examples]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def own_row(row_id: str, text: str, **changes: object) -> dict[str, Any]:
    row = {"id": row_id, "lang": "en", "text": text, "label": "allegation", "rule": 4, "edge": None}
    return {**row, "minimal_set": None, "traits": [], **changes}


@pytest.fixture
def data(tmp_path: Path) -> TinyData:
    pack, datasets = tmp_path / "pack", tmp_path / "datasets"
    sources = ['[sources.tiny]\nfile = "sets/tiny.jsonl"\nlicence = "none stated"\nsha256 = "{}"\n', "[gold]\n"]
    write_rows(pack / "sets" / "tiny.jsonl", [{"text": "A line of a set."}])
    sources[0] = sources[0].format(digest_of(pack / "sets" / "tiny.jsonl"))
    for number, (split, text) in enumerate(GOLD.items()):
        texts = pack / "gold" / f"{split}.jsonl"
        write_rows(texts, [{"id": f"s{number}", "text": text}])
        record = {"id": f"s{number}", "text_sha256": text_digest(text), "lang": LANGUAGES[split], "rule": 6, "sure": 2}
        record |= {"label": "factual_report", "split": split, "cluster": f"c{number}", "origin": "tiny"}
        write_rows(datasets / "gold" / f"{split}.jsonl", [record])
        sources.append(f'[gold.{split}]\nfile = "gold/{split}.jsonl"\nsha256 = "{digest_of(texts)}"\n')
    (datasets / "sources.toml").write_text("\n".join(sources), encoding="utf-8")
    for language, text in OWN.items():
        row = own_row(f"{language}-1", text, lang=language)
        write_rows(datasets / "statements" / f"{language}.jsonl", [row])
    return TinyData(pack, datasets)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_labels_and_texts_are_joined(data: TinyData) -> None:
    corpus = load_corpus(("gold", "statements"), data.pack, datasets_dir=data.datasets)
    (example,) = corpus.split("dev", origin_prefix="gold/")
    assert (example.text, example.language, example.sure, example.origin) == (GOLD["dev"], "uk", 2, "gold/tiny")
    assert corpus.main_origin == "gold/"
    assert corpus.held_back("test") == corpus.split("test", origin_prefix="gold/")


def test_every_file_is_named_with_its_digest(data: TinyData) -> None:
    corpus = load_corpus(("gold", "statements"), data.pack, datasets_dir=data.datasets)
    files = [f"gold/{split}.jsonl" for split in GOLD] + [f"statements/{code}.jsonl" for code in OWN]
    assert corpus.digests == {name: digest_of(data.datasets / name) for name in files}


def test_held_back_gold_is_never_learned_from(data: TinyData) -> None:
    corpus = load_corpus(("gold", "statements"), data.pack, datasets_dir=data.datasets)
    assert not {e.id for e in corpus.learned()} & {e.id for e in (*corpus.held_back("dev"), *corpus.held_back("test"))}


def test_without_a_pack_only_the_own_statements_are_read(data: TinyData) -> None:
    corpus = load_corpus(("gold",), None, datasets_dir=data.datasets)
    assert {e.text for e in corpus.examples} == set(OWN.values())
    assert corpus.main_origin == "statements/"


def test_a_recipe_can_leave_the_own_statements_out(data: TinyData) -> None:
    corpus = load_corpus(("gold",), data.pack, datasets_dir=data.datasets)
    assert [e.text for e in corpus.examples] == list(GOLD.values())


def test_a_text_that_is_not_the_labelled_one_is_refused_naming_its_row(data: TinyData) -> None:
    write_rows(data.pack / "gold" / "dev.jsonl", [{"id": "s1", "text": "Someone edited this."}])
    with pytest.raises(CorpusError, match=r"gold/dev\.jsonl line 1: row s1 .* SHA-256") as caught:
        data.load()
    assert "Someone edited" not in str(caught.value)
    assert text_digest(GOLD["dev"]) in str(caught.value)


def test_a_row_that_the_pack_lacks_is_named(data: TinyData) -> None:
    write_rows(data.pack / "gold" / "test.jsonl", [{"id": "other", "text": "Another line."}])
    with pytest.raises(CorpusError, match=r"gold/test\.jsonl line 1: .* has no row s2"):
        data.load()


def test_a_line_that_is_not_json_is_named_by_its_number(data: TinyData) -> None:
    path = data.pack / "gold" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"id": "s9", \n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"gold/train\.jsonl line 2: not JSON"):
        data.load()


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"label": "propaganda"}, "propaganda"), ({"lang": ...}, "lang"), ({"minimal_set": ...}, "minimal_set")],
)
def test_an_own_row_with_a_wrong_field_is_refused_naming_it(
    data: TinyData, changes: dict[str, object], named: str
) -> None:
    row = {k: v for k, v in own_row("en-2", "The bridge is shut.", **changes).items() if v is not ...}
    write_rows(data.datasets / "statements" / "en.jsonl", [own_row("en-1", "The bridge is open."), row])
    with pytest.raises(CorpusError, match=rf"statements/en\.jsonl line 2: .*{named}"):
        data.load()


@pytest.mark.parametrize("row", ["[1]", "null", '"text"', '{"id": "s1"}'])
def test_a_row_that_is_no_record_is_refused_by_number(data: TinyData, row: str) -> None:
    (data.pack / "gold" / "dev.jsonl").write_text(row, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"gold/dev\.jsonl line 1"):
        data.load()


def test_a_gold_record_with_an_unknown_label_is_refused_naming_its_row(data: TinyData) -> None:
    path = data.datasets / "gold" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("factual_report", "true"), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"gold/train\.jsonl line 1: .*true"):
        data.load()


def test_a_missing_file_and_another_encoding_are_named(data: TinyData) -> None:
    path = data.pack / "gold" / "test.jsonl"
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    with pytest.raises(CorpusError, match=r"gold/test\.jsonl is not UTF-8"):
        data.load()
    path.unlink()
    with pytest.raises(CorpusError, match=r"gold/test\.jsonl is missing"):
        data.load()


def test_an_unusual_line_separator_inside_a_text_ends_no_row(data: TinyData) -> None:
    text = "First thought\u2028second thought\x85third thought"
    row = own_row("en-1", text)
    write_rows(data.datasets / "statements" / "en.jsonl", [row])
    assert text in data.load()


def test_the_own_statements_may_not_repeat_held_back_gold(data: TinyData) -> None:
    row_id = next(f"en-{n}" for n in range(99) if assign_split(f"en-{n}") == "train")
    write_rows(data.datasets / "statements" / "en.jsonl", [own_row(row_id, GOLD["test"])])
    with pytest.raises(LeakError, match=f"s2 in test and {row_id} in train"):
        data.load()


def test_every_file_of_the_pack_is_checked(data: TinyData) -> None:
    assert check_sources(data.pack, datasets_dir=data.datasets) == 4


def test_an_altered_set_is_refused_with_both_digests(data: TinyData) -> None:
    path = data.pack / "sets" / "tiny.jsonl"
    expected = digest_of(path)
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=rf"\[tiny\]: sets/tiny.jsonl has SHA-256 {digest_of(path)}; .*{expected}"):
        check_sources(data.pack, datasets_dir=data.datasets)
    path.unlink()
    with pytest.raises(CorpusError, match=r"\[tiny\]: the data pack has no sets/tiny\.jsonl"):
        check_sources(data.pack, datasets_dir=data.datasets)


def test_licences_are_found_by_the_origin_of_a_statement(data: TinyData) -> None:
    assert source_licences(datasets_dir=data.datasets) == {"tiny": "none stated"}


def test_the_pack_is_the_folder_that_the_environment_names(
    data: TinyData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert data_pack_path() is None
    monkeypatch.setenv("CREDENCE_DATA", str(data.pack))
    assert data_pack_path() == data.pack
    monkeypatch.setenv("CREDENCE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(CorpusError, match=r"CREDENCE_DATA names .*, where there is no folder gold/"):
        data_pack_path()


def test_the_command_refuses_a_wrong_folder_on_stderr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CREDENCE_DATA", str(tmp_path))
    assert main(["--output", str(tmp_path / "out")]) == 1
    assert "error: CREDENCE_DATA" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_without_a_pack_writes_the_own_statements_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path)]) == 0
    assert "own statements alone" in capsys.readouterr().out
    rows = [json.loads(line) for s in GOLD for line in (tmp_path / f"{s}.jsonl").read_text("utf-8").split("\n") if line]
    assert len(rows) >= 1200
    assert {row["label"] for row in rows} == set(OUTCOMES)
    assert {row["language"] for row in rows} == {"en", "uk", "ru"}
    assert all(row["origin"].startswith("statements/") for row in rows)
