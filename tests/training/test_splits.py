"""Splits that never move and never cut a cluster, and the guard that names the rows that leak."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.splits import LeakError, assign_split, check_no_leak, folds_by_cluster

SENTENCE = "The regional council voted on Thursday to rebuild the flood barrier south of the old harbour."


def test_known_clusters_stay_where_they_are() -> None:
    found = {name: assign_split(name) for name in ("en-0001", "uk-0002", "ru-0003", "a-001", "b-017")}
    assert found == {"en-0001": "train", "uk-0002": "dev", "ru-0003": "train", "a-001": "test", "b-017": "train"}


def test_about_an_eighth_goes_to_dev_and_to_test() -> None:
    counts = Counter(assign_split(f"cluster {n}") for n in range(5000))
    assert counts["dev"] / 5000 == pytest.approx(0.12, abs=0.02)
    assert counts["test"] / 5000 == pytest.approx(0.12, abs=0.02)


@given(st.lists(st.sampled_from("abcdef"), min_size=1), st.integers(2, 7))
def test_rows_of_one_cluster_share_a_fold_wherever_they_stand(clusters: list[str], n_folds: int) -> None:
    folds = folds_by_cluster(clusters, n_folds)
    assert set(folds) <= set(range(n_folds))
    assert folds_by_cluster(clusters[::-1], n_folds) == folds[::-1]
    assert len({*zip(clusters, folds, strict=True)}) == len(set(clusters))


def test_clusters_that_keep_to_their_split_pass() -> None:
    rows = [("1", SENTENCE, "train", "a"), ("2", SENTENCE, "train", "a"), ("3", "Whose bridge is it?", "dev", "b")]
    check_no_leak(rows)


def test_no_rows_and_rows_of_one_split_alone_pass() -> None:
    check_no_leak([])
    check_no_leak([("1", SENTENCE, "dev", "a"), ("2", SENTENCE, "dev", "b")])


def test_a_cluster_in_two_splits_is_named_with_its_rows() -> None:
    rows = [("1", SENTENCE, "train", "doc-7"), ("2", "Whose bridge is it?", "test", "doc-7")]
    with pytest.raises(LeakError, match=r"cluster doc-7 .*2 in test, 1 in train"):
        check_no_leak(rows)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_near_duplicate_in_another_cluster_is_named(split: str) -> None:
    rows = [
        ("1", SENTENCE, "train", "a"),
        ("2", "The minister denied that any such letter was ever sent to the port authority.", "train", "b"),
        ("3", SENTENCE.upper().replace("THURSDAY", "THURSDAY,"), split, "c"),
    ]
    with pytest.raises(LeakError, match=f"3 in {split} and 1 in train are near-duplicates"):
        check_no_leak(rows)


def test_a_sentence_on_the_same_matter_in_other_words_passes() -> None:
    other = "On Thursday councillors in the region backed a plan for a new barrier against floods near the port."
    check_no_leak([("1", SENTENCE, "train", "a"), ("2", other, "test", "b")])
