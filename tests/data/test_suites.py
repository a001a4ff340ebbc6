import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from credence.labels import LABELS, OUTCOMES, Outcome
from credence.language import SUPPORTED_LANGUAGES, detect_language
from training.corpora import load_corpus
from training.splits import NEAR_DUPLICATE_SIMILARITY, check_no_leak

SUITES = Path(__file__).parents[2] / "datasets" / "suites"
CODEBOOK = SUITES.parent / "CODEBOOK.md"
FIELDS = ("id", "suite", "lang", "text", "label", "rule", "group", "edge")
LABEL_OF_RULE = {
    1: Outcome.NOT_A_CLAIM,
    2: Outcome.FACTUAL_REPORT,
    3: Outcome.LIKELY_DISINFORMATION_NARRATIVE,
    4: Outcome.ALLEGATION,
    5: Outcome.ALLEGATION,
    6: Outcome.FACTUAL_REPORT,
}
# The edges of the codebook that leave no choice of label.
LABEL_OF_EDGE = {
    **dict.fromkeys(["E02", "E12", "E13", "E15"], Outcome.FACTUAL_REPORT),
    **dict.fromkeys(["E01", "E03", "E06", "E11", "E19", "E22", "E34"], Outcome.ALLEGATION),
    **dict.fromkeys(["E18"], Outcome.LIKELY_DISINFORMATION_NARRATIVE),
    **dict.fromkeys(["E08", "E25", "E31", "E36"], Outcome.NOT_A_CLAIM),
}
SIZES = {
    "translations": 360,
    "exchanged_sides": 200,
    "debunks": 90,
    "attributed_storylines": 90,
    "attribution": 120,
    "hedges": 120,
    "names_and_numbers": 120,
}
PAIRED = ("exchanged_sides", "attribution", "hedges", "names_and_numbers")
STORYLINE, ALLEGATION, FACT = Outcome.LIKELY_DISINFORMATION_NARRATIVE, Outcome.ALLEGATION, Outcome.FACTUAL_REPORT
# Shorter lines than this belong to nobody, such as "When will the bridge open?".
SHORTEST_COPY_WORDS = 6

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    paths = sorted(SUITES.glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def of_suite(rows: list[Row], name: str) -> list[Row]:
    return [row for row in rows if row["suite"] == name]


def groups_of(rows: list[Row], name: str) -> list[list[Row]]:
    groups = defaultdict(list)
    for row in of_suite(rows, name):
        groups[row["group"]].append(row)
    return list(groups.values())


def words_of(text: str) -> str:
    """Return the words alone: a copy stays one under another case, other spaces and other punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def texts_of_the_pack(data_pack: Path) -> Iterator[tuple[str, str]]:
    for path in [*sorted(data_pack.glob("gold/*.jsonl")), *sorted(data_pack.glob("sets/*.jsonl.gz"))]:
        raw = path.read_bytes()
        lines = gzip.decompress(raw) if path.suffix == ".gz" else raw
        for number, line in enumerate(lines.decode().splitlines(), start=1):
            yield f"{path.name} line {number}", json.loads(line)["text"]


def test_files_hold_one_object_a_line_with_unix_line_ends() -> None:
    for path in SUITES.iterdir():
        raw = path.read_bytes()
        assert path.suffix == ".jsonl"
        assert raw.endswith(b"}\n")
        assert b"\r" not in raw
        assert not raw.startswith(b"\xef\xbb\xbf")


def test_each_file_is_one_suite_of_the_size_promised(rows: list[Row]) -> None:
    for path in SUITES.glob("*.jsonl"):
        assert {json.loads(line)["suite"] for line in path.read_text(encoding="utf-8").splitlines()} == {path.stem}
    counts = Counter(row["suite"] for row in rows)
    assert counts.keys() == SIZES.keys()
    assert all(counts[name] >= size for name, size in SIZES.items())


def test_every_row_has_the_fields_in_their_order(rows: list[Row]) -> None:
    assert {tuple(row) for row in rows} == {FIELDS}


def test_every_field_has_a_value_of_its_kind(rows: list[Row]) -> None:
    edges = set(re.findall(r"^\| (E\d\d) \|", CODEBOOK.read_text(encoding="utf-8"), re.M))
    assert {row["lang"] for row in rows} == set(SUPPORTED_LANGUAGES)
    assert {row["label"] for row in rows} == set(OUTCOMES)
    assert {row["edge"] for row in rows} <= edges | {None}
    assert not [row["id"] for row in rows if not row["id"].startswith(row["group"])]


def test_every_text_is_one_trimmed_line_as_long_as_the_codebook_says(rows: list[Row]) -> None:
    for row in rows:
        words = row["text"].split()
        assert row["text"] == " ".join(words), row["id"]
        assert 4 <= len(words) <= 75, row["id"]


def test_no_id_and_no_text_stands_twice(rows: list[Row]) -> None:
    ids = Counter(row["id"] for row in rows)
    texts = Counter(words_of(row["text"]) for row in rows)
    assert max(ids.values()) == 1
    assert [text for text, count in texts.items() if count > 1] == []


def test_every_rule_and_every_edge_gives_its_label(rows: list[Row]) -> None:
    assert not [row["id"] for row in rows if LABEL_OF_RULE[row["rule"]] != row["label"]]
    assert not [row["id"] for row in rows if LABEL_OF_EDGE.get(row["edge"], row["label"]) != row["label"]]


def test_every_language_is_recognised(rows: list[Row]) -> None:
    assert not [row["id"] for row in rows if detect_language(row["text"]) != row["lang"]]


def test_a_translation_stands_in_three_languages_under_one_label(rows: list[Row]) -> None:
    groups = groups_of(rows, "translations")
    assert {tuple(row["lang"] for row in group) for group in groups} == {SUPPORTED_LANGUAGES}
    assert {len({(row["label"], row["rule"], row["edge"]) for row in group}) for group in groups} == {1}
    labels = Counter(group[0]["label"] for group in groups)
    assert labels[FACT] >= 36
    assert labels[ALLEGATION] >= 36
    assert labels[STORYLINE] >= 30
    assert labels[Outcome.NOT_A_CLAIM] >= 18


@pytest.mark.parametrize("name", PAIRED)
def test_a_pair_has_two_members_in_one_language(rows: list[Row], name: str) -> None:
    groups = groups_of(rows, name)
    assert {len(group) for group in groups} == {2}
    assert {len({row["lang"] for row in group}) for group in groups} == {1}
    assert min(Counter(group[0]["lang"] for group in groups).values()) >= 20


@pytest.mark.parametrize(("name", "labels"), [("attribution", (STORYLINE, ALLEGATION)), ("hedges", (FACT, ALLEGATION))])
def test_a_directional_pair_goes_from_one_label_to_the_other(
    rows: list[Row], name: str, labels: tuple[Outcome, Outcome]
) -> None:
    assert {tuple(row["label"] for row in group) for group in groups_of(rows, name)} == {labels}


@pytest.mark.parametrize("name", ["exchanged_sides", "names_and_numbers"])
def test_an_invariance_pair_keeps_its_label(rows: list[Row], name: str) -> None:
    groups = groups_of(rows, name)
    assert {len({row["label"] for row in group}) for group in groups} == {1}
    assert {group[0]["label"] for group in groups} >= set(LABELS)


@pytest.mark.parametrize(("name", "rule"), [("debunks", 2), ("attributed_storylines", 4)])
def test_a_line_that_keeps_its_distance_stands_alone_under_its_rule(rows: list[Row], name: str, rule: int) -> None:
    ours = of_suite(rows, name)
    assert {row["rule"] for row in ours} == {rule}
    assert all(row["group"] == row["id"] for row in ours)
    assert set(Counter(row["lang"] for row in ours).values()) == {len(ours) // len(SUPPORTED_LANGUAGES)}


@pytest.mark.parametrize("language", SUPPORTED_LANGUAGES)
def test_length_gives_no_label_away(rows: list[Row], language: str) -> None:
    lengths = {
        label: np.median([len(row["text"]) for row in rows if (row["lang"], row["label"]) == (language, label)])
        for label in LABELS
    }
    assert max(lengths.values()) <= 1.4 * min(lengths.values())


def test_no_statement_is_close_to_one_that_is_learned(rows: list[Row]) -> None:
    learned = [(e.id, e.text, "train", e.cluster) for e in load_corpus(("statements",), None).examples]
    check_no_leak([*learned, *((row["id"], row["text"], "test", row["group"]) for row in rows)])


def test_no_two_groups_hold_nearly_the_same_statement(rows: list[Row]) -> None:
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4)).fit_transform(row["text"] for row in rows)
    similarity = (vectors @ vectors.T).toarray()
    close = np.argwhere(np.triu(similarity >= NEAR_DUPLICATE_SIMILARITY, k=1))
    assert [(rows[a]["id"], rows[b]["id"]) for a, b in close if rows[a]["group"] != rows[b]["group"]] == []


def test_no_statement_is_close_to_a_hand_labelled_one(rows: list[Row], data_pack: Path) -> None:
    gold = [(e.id, e.text, "train", e.cluster) for e in load_corpus(("gold",), data_pack).examples]
    check_no_leak([*gold, *((row["id"], row["text"], "test", row["group"]) for row in rows)])


def test_no_statement_of_ours_stands_in_a_public_set(rows: list[Row], data_pack: Path) -> None:
    ours = {words: row["id"] for row in rows if len((words := words_of(row["text"])).split()) >= SHORTEST_COPY_WORDS}
    theirs = ((words_of(text), where) for where, text in texts_of_the_pack(data_pack))
    assert [(ours[words], where) for words, where in theirs if words in ours] == []
