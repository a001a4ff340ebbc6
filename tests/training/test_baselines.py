"""Baselines learn from the same examples and see no more than their name says."""

import dataclasses

import numpy as np
import pytest

from credence.labels import OUTCOMES, Outcome
from training.baselines import build_baseline
from training.config import EncoderConfig, ExperimentConfig, ModelKind
from training.corpora import Example

CUES = {
    Outcome.FACTUAL_REPORT: ("The council opened a bridge", "Рада відкрила новий міст"),
    Outcome.ALLEGATION: ("Officials reportedly claimed a bridge", "Чиновник заявив про новий міст"),
    Outcome.LIKELY_DISINFORMATION_NARRATIVE: ("The nazi regime plot burns a bridge", "Маріонетки палять новий міст"),
    Outcome.NOT_A_CLAIM: ("Who will cross a bridge?", "Хто перейде новий міст?"),
}
# What each sees: one row an outcome and language, and the language or the source gives the outcome away or not.
KINDS: tuple[ModelKind, ...] = ("majority", "language_only", "source_only", "cue_words", "tfidf")


def make_examples(repeats: int = 6) -> list[Example]:
    examples = []
    for number in range(repeats):
        for column, (outcome, texts) in enumerate(CUES.items()):
            for language, text in zip(("en", "uk"), texts, strict=True):
                row_id = f"{language}-{column}-{number}"
                examples.append(
                    Example(row_id, f"{text} {number}", language, outcome, 1, 3, "train", row_id, f"set{column}")
                )
    return examples


@pytest.mark.parametrize("kind", KINDS)
def test_every_baseline_gives_probabilities_over_the_four_outcomes(kind: ModelKind) -> None:
    examples = make_examples()
    baseline = build_baseline(ExperimentConfig(name="b", model=kind))
    baseline.fit(examples)
    probabilities = baseline.predict(examples[:5])
    assert probabilities.shape == (5, len(OUTCOMES))
    np.testing.assert_allclose(probabilities.sum(1), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_do_not_look_at_the_labels(kind: ModelKind) -> None:
    examples = make_examples()
    baseline = build_baseline(ExperimentConfig(name="b", model=kind))
    baseline.fit(examples)
    relabelled = [dataclasses.replace(e, label=Outcome.NOT_A_CLAIM, sure=1) for e in examples]
    np.testing.assert_array_equal(baseline.predict(examples), baseline.predict(relabelled))


@pytest.mark.parametrize(
    ("kind", "blanked"),
    [
        ("majority", {"text": "x", "language": "ru", "origin": "x"}),
        ("language_only", {"text": "x", "origin": "x"}),
        ("source_only", {"text": "x", "language": "ru"}),
        ("cue_words", {"language": "ru", "origin": "x"}),
        ("tfidf", {"language": "ru", "origin": "x"}),
    ],
)
def test_a_baseline_sees_no_more_than_its_name_says(kind: ModelKind, blanked: dict[str, str]) -> None:
    examples = make_examples()
    baseline = build_baseline(ExperimentConfig(name="b", model=kind))
    baseline.fit(examples)
    hidden = [dataclasses.replace(e, **blanked) for e in examples]  # type: ignore[arg-type]
    np.testing.assert_array_equal(baseline.predict(examples), baseline.predict(hidden))


def test_the_majority_is_the_prior_of_what_was_learned() -> None:
    examples = [e for e in make_examples() if e.label in (Outcome.FACTUAL_REPORT, Outcome.NOT_A_CLAIM)]
    baseline = build_baseline(ExperimentConfig(name="b", model="majority"))
    baseline.fit([*examples, *(e for e in examples if e.label is Outcome.NOT_A_CLAIM)])
    np.testing.assert_allclose(baseline.predict(examples[:1]), [[1 / 3, 0, 0, 2 / 3]])


@pytest.mark.parametrize("kind", ["source_only", "tfidf"])
def test_what_gives_the_outcome_away_is_learned(kind: ModelKind) -> None:
    examples = make_examples()
    baseline = build_baseline(ExperimentConfig(name="b", model=kind))
    baseline.fit(examples)
    assert [OUTCOMES[c] for c in baseline.predict(examples).argmax(1)] == [e.label for e in examples]


def test_cue_words_are_found_in_any_case_and_nothing_else_counts() -> None:
    examples = make_examples()
    baseline = build_baseline(ExperimentConfig(name="b", model="cue_words"))
    baseline.fit(examples)
    cued = dataclasses.replace(examples[0], text="REPORTEDLY CLAIMED")
    plain = [dataclasses.replace(examples[0], text=text) for text in ("green tables", "зелені столи")]
    assert OUTCOMES[int(baseline.predict([cued]).argmax())] is Outcome.ALLEGATION
    np.testing.assert_array_equal(baseline.predict(plain[:1]), baseline.predict(plain[1:]))


def test_the_frozen_encoder_separates_the_outcomes_in_any_order(tiny_folder: object) -> None:
    encoder = EncoderConfig(name=str(tiny_folder), trim=False)
    examples = make_examples()
    baseline = build_baseline(ExperimentConfig(name="b", model="frozen_encoder", encoder=encoder))
    baseline.fit(examples)
    probabilities = baseline.predict(examples)
    right = np.mean([OUTCOMES[c] is e.label for c, e in zip(probabilities.argmax(1), examples, strict=True)])
    assert right > 0.8
    np.testing.assert_allclose(baseline.predict(examples[::-1])[::-1], probabilities, atol=1e-4)


def test_a_kind_that_is_no_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match="encoder is not a baseline"):
        build_baseline(ExperimentConfig(name="b", model="encoder"))
