"""The label scheme is the contract of every room: its names, their order, and what is said of each."""

import re
from pathlib import Path

import pytest

from credence.labels import CODEBOOK_VERSION, DISCLAIMER, LABELS, MEANINGS, OUTCOMES, REASON_MEANINGS, Outcome, Reason

CODEBOOK = Path(__file__).parents[2] / "datasets" / "CODEBOOK.md"


def test_the_columns_of_every_score_array_keep_their_order() -> None:
    assert [str(outcome) for outcome in OUTCOMES] == [
        "factual_report",
        "allegation",
        "likely_disinformation_narrative",
        "not_a_claim",
    ]


def test_only_not_a_claim_is_an_outcome_without_a_label() -> None:
    assert set(OUTCOMES) - set(LABELS) == {Outcome.NOT_A_CLAIM}
    assert OUTCOMES[: len(LABELS)] == LABELS


def test_every_outcome_and_every_reason_is_explained() -> None:
    assert set(MEANINGS) == set(OUTCOMES)
    assert set(REASON_MEANINGS) == set(Reason)
    assert all(text.endswith(".") for text in [*MEANINGS.values(), *REASON_MEANINGS.values(), DISCLAIMER])


def test_an_outcome_is_found_by_its_name_and_written_as_it() -> None:
    assert [Outcome(str(outcome)) for outcome in OUTCOMES] == list(OUTCOMES)
    with pytest.raises(ValueError, match="propaganda"):
        Outcome("propaganda")


def test_the_codebook_has_the_version_that_the_code_names() -> None:
    found = re.search(r"[Vv]ersion:? (\d+)", CODEBOOK.read_text(encoding="utf-8"))
    assert found is not None
    assert int(found.group(1)) == CODEBOOK_VERSION


def test_the_codebook_names_every_outcome() -> None:
    text = CODEBOOK.read_text(encoding="utf-8")
    assert [outcome for outcome in OUTCOMES if outcome not in text] == []
