"""What the shipped scorer promises of every answer, whatever it is given."""

import math
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import credence
from credence.errors import InvalidTextError, UnknownLanguageError
from credence.labels import LABELS, OUTCOMES, Outcome, Reason
from credence.normalise import normalise_text
from credence.scoring import Scorer, StatementScore, roll_up

STATEMENTS: Final = {
    "en": (
        "The regional council opened a new bridge over the river on Monday.",
        "Two officials reportedly accused the mayor of taking bribes from a builder.",
        "The puppet regime in Kyiv is growing killer viruses in secret NATO laboratories.",
        "Who will pay for the winter repairs of our roads?",
    ),
    "uk": (
        "У Полтаві відкрили новий міст через Ворсклу, повідомляє міська рада.",
        "За словами депутата, підрядник нібито вивів за кордон половину грошей.",
        "Що нам усім робити далі, друзі?",
    ),
    "ru": (
        "В Омске открыли новый мост через Иртыш, движение запустили утром.",
        "Источники утверждают, что глава района якобы скрывает свои доходы.",
        "Запад тайно управляет киевским режимом и готовит новую провокацию.",
    ),
}
MIXED: Final = [
    *(text for texts in STATEMENTS.values() for text in texts),
    "Premier spotkał się w Warszawie z ministrami obrony państw bałtyckich.",
    "Too short",
    "❗️❗️❗️",
]
UNSCORED: Final = {Reason.TOO_SHORT, Reason.UNSUPPORTED_LANGUAGE}
SAME: Final = 0.01


def assert_promises_kept(score: StatementScore, text: str) -> None:
    assert (score.label is None) is (score.reason is not None)
    assert 0 <= score.start_char <= score.read_end_char <= score.end_char <= len(text)
    assert score.is_cut is (score.read_end_char < score.end_char)
    if score.reason in UNSCORED:
        assert (score.outcome, score.scores, score.confidence, score.prediction_set) == (None,) * 4
        return
    assert score.scores is not None
    assert score.prediction_set is not None
    assert tuple(score.scores) == OUTCOMES
    assert math.fsum(score.scores.values()) == pytest.approx(1, abs=1e-9)
    assert all(0 <= value <= 1 for value in score.scores.values())
    assert score.confidence == max(score.scores.values())
    assert score.outcome == max(OUTCOMES, key=score.scores.__getitem__) == score.prediction_set[0]
    assert score.label in (None, score.outcome)
    assert score.label in (None, *LABELS)
    assert (score.reason is Reason.NOT_A_CLAIM) <= (score.outcome is Outcome.NOT_A_CLAIM)
    assert score.language in STATEMENTS


def assert_same(first: StatementScore, second: StatementScore) -> None:
    assert (first.reason, first.language, first.is_cut) == (second.reason, second.language, second.is_cut)
    assert (first.scores is None) is (second.scores is None)
    if first.scores is not None and second.scores is not None:
        assert first.scores == pytest.approx(second.scores, abs=SAME)


def test_every_answer_keeps_the_promises(scorer: Scorer) -> None:
    for score, text in zip(scorer.score_statements(MIXED), MIXED, strict=True):
        assert_promises_kept(score, text)
        assert (score.start_char, score.end_char) == (0, len(text))


def test_each_statement_is_found_in_its_language_and_scored(scorer: Scorer) -> None:
    for language, texts in STATEMENTS.items():
        for score in scorer.score_statements(texts):
            assert score.language == language
            assert score.scores is not None


def test_score_is_unchanged_by_batch_order(scorer: Scorer) -> None:
    expected = scorer.score_statements(MIXED)
    for seed in range(3):
        order = random.Random(seed).sample(range(len(MIXED)), len(MIXED))
        for row, score in zip(order, scorer.score_statements([MIXED[i] for i in order]), strict=True):
            assert_same(score, expected[row])


def test_score_is_unchanged_by_the_other_texts(scorer: Scorer) -> None:
    expected = scorer.score_statements(MIXED)
    company = [f"Company number {n} reported a profit of {n} million in its last quarter." for n in range(80)]
    for text, together in zip(MIXED, expected, strict=True):
        assert_same(scorer.score_statements([text])[0], together)
    for row, score in enumerate(scorer.score_statements([*company, *MIXED])[len(company) :]):
        assert_same(score, expected[row])


def test_threads_calling_at_once_agree(scorer: Scorer) -> None:
    expected = scorer.score_statements(MIXED)
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: scorer.score_statements(MIXED), range(8)):
            for score, alone in zip(answer, expected, strict=True):
                assert_same(score, alone)


def test_no_texts_get_no_scores(scorer: Scorer) -> None:
    assert scorer.score_statements([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "Premier spotkał się w Warszawie z ministrami obrony państw bałtyckich.",
        "Der Kanzler hat am Montag in Berlin eine neue Brücke über die Spree eröffnet.",
        "Прэзідэнт сустрэўся ў чацвер з міністрамі абароны краін Балтыі.",
    ],
)
def test_another_language_is_not_scored(scorer: Scorer, text: str) -> None:
    (score,) = scorer.score_statements([text])
    assert (score.reason, score.language, score.scores) == (Reason.UNSUPPORTED_LANGUAGE, None, None)


@pytest.mark.parametrize("text", ["Bridge opened", "Міст", "Мост открыли!", "2024 году", "🚀🚀🚀 ok"])
def test_fewer_than_three_words_are_not_scored(scorer: Scorer, text: str) -> None:
    (score,) = scorer.score_statements([text])
    assert (score.reason, score.scores) == (Reason.TOO_SHORT, None)


def test_a_named_language_overrides_detection(scorer: Scorer) -> None:
    polish = MIXED[len(MIXED) - 3]
    named, found = scorer.score_statements([polish, polish], languages=["en", None])
    assert named.language == "en"
    assert named.scores is not None
    assert found.reason is Reason.UNSUPPORTED_LANGUAGE


def test_an_unknown_language_and_a_list_of_another_length_are_refused(scorer: Scorer) -> None:
    with pytest.raises(UnknownLanguageError):
        scorer.score_statements(["The council opened a bridge."], languages=["pl"])
    with pytest.raises(UnknownLanguageError):
        scorer.score_document("The council opened a bridge.", language="pl")
    with pytest.raises(ValueError, match="zip"):
        scorer.score_statements(["The council opened a bridge."], languages=[])


@pytest.mark.parametrize("language", STATEMENTS)
def test_disguised_letters_do_not_change_the_score(scorer: Scorer, language: str) -> None:
    plain = STATEMENTS[language][0]
    disguised = "\ufeff" + plain.replace(" ", "\u200b \u00ad") + "\u202e"
    first, second = scorer.score_statements([plain, disguised])
    assert_same(first, second)
    assert second.end_char == len(disguised)


def test_a_too_long_text_is_cut_and_says_where(scorer: Scorer) -> None:
    text = "The minister said on Monday that the bridge over the river is open again. " * 60
    (score,) = scorer.score_statements([text])
    assert score.is_cut
    assert 0 < score.read_end_char < score.end_char == len(text)
    other = text[: score.read_end_char + 100] + "Nothing of this is true, they lie to us all, wake up! " * 60
    assert_same(scorer.score_statements([other])[0], score)


def test_where_a_text_was_cut_is_told_in_characters_as_sent(scorer: Scorer) -> None:
    text = "Міністр заявив у понеділок, що міст через річку знову відкрито для руху. " * 60
    sent = text.replace("і", "і\u200b").replace(" ", "  ")
    first, second = scorer.score_statements([text, sent])
    assert first.is_cut
    assert second.is_cut
    shown = normalise_text(sent[: second.read_end_char]).text.rstrip()
    assert shown == text[: first.read_end_char].rstrip()


def test_a_document_is_split_into_statements_whose_offsets_slice_back(scorer: Scorer) -> None:
    parts = [text for texts in STATEMENTS.values() for text in texts]
    text = "\r\n\r\n".join(parts)
    document = scorer.score_document(text)
    assert [text[s.start_char : s.end_char] for s in document.statements] == parts
    assert [s.language for s in document.statements] == [code for code, texts in STATEMENTS.items() for _ in texts]
    for score in document.statements:
        assert_promises_kept(score, text)


def test_statements_of_a_document_score_as_they_do_alone(scorer: Scorer) -> None:
    parts = STATEMENTS["uk"]
    document = scorer.score_document(" ".join(parts))
    for inside, alone in zip(document.statements, scorer.score_statements(parts), strict=True):
        assert_same(inside, alone)


def test_a_short_line_takes_the_language_of_its_document(scorer: Scorer) -> None:
    text = f"{STATEMENTS['uk'][0]}\n\nРада прийняла закон.\n\n{STATEMENTS['uk'][1]}"
    assert {score.language for score in scorer.score_document(text).statements} == {"uk"}


def test_a_cut_statement_inside_a_document_says_where_in_the_document(scorer: Scorer) -> None:
    long = "The minister said that " + "the bridge is open and " * 300 + "the road is closed."
    text = f"{STATEMENTS['en'][0]}\n\n{long}"
    document = scorer.score_document(text)
    assert document.is_cut
    first, second = document.statements
    assert (first.is_cut, first.read_end_char) == (False, first.end_char)
    assert second.start_char < second.read_end_char < second.end_char
    (alone,) = scorer.score_statements([long])
    assert second.read_end_char - second.start_char == alone.read_end_char


def test_the_roll_up_adds_up(scorer: Scorer) -> None:
    document = scorer.score_document("\n\n".join(MIXED))
    rollup = document.rollup
    assert rollup == roll_up(document.statements)
    assert rollup.n_statements == len(document.statements)
    assert sum(rollup.label_counts.values()) + sum(rollup.reason_counts.values()) == rollup.n_statements
    for label, share in rollup.label_shares.items():
        assert share == rollup.label_counts[label] / rollup.n_statements
    confidences = [s.confidence for s in document.statements if s.confidence is not None]
    assert rollup.mean_confidence == pytest.approx(sum(confidences) / len(confidences))


def test_a_document_without_scored_statements_has_no_mean_confidence(scorer: Scorer) -> None:
    rollup = scorer.score_document("Міст.\n\nOK").rollup
    assert rollup.mean_confidence is None
    assert set(rollup.label_shares.values()) == {0}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("The bridge is\x00 open.", "control_character"),
        ("The bridge \ud83d is open.", "lone_surrogate"),
        ("", "empty"),
        (" \r\n\u200b\ufeff", "empty"),
    ],
)
def test_a_text_that_cannot_be_scored_is_refused_with_its_index(scorer: Scorer, text: str, kind: str) -> None:
    with pytest.raises(InvalidTextError) as caught:
        scorer.score_statements([STATEMENTS["en"][0], text, STATEMENTS["uk"][0]])
    assert (caught.value.kind, caught.value.index) == (kind, 1)
    assert "bridge" not in str(caught.value)
    with pytest.raises(InvalidTextError) as caught:
        scorer.score_document(text)
    assert (caught.value.kind, caught.value.index) == (kind, None)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "ї" * 100_000,
        "🇺🇦🚀❗️" * 50,
        "<p>The council <b>opened</b> a bridge</p><script>alert('now')</script>",
        "The council\r\nopened a bridge\r\n\r\nin the town\r\n",
        "\ufeffThe council opened a bridge in the town.",
        "הנשיא נפגש עם שרי הביטחון ביום חמישי",
        "Тhe соunсil оpеned а bridgе in thе tоwn on Monday.",
        "a\u0301" * 3000,
        "....!!!???",
        "T h e  c o u n c i l  o p e n e d  a  b r i d g e",
    ],
    ids=["one word", "one letter", "emoji", "html", "crlf", "bom", "rtl", "mixed", "marks", "signs", "spaced"],
)
def test_hostile_texts_get_an_answer(scorer: Scorer, text: str) -> None:
    (score,) = scorer.score_statements([text])
    assert_promises_kept(score, text)
    for inside in scorer.score_document(text).statements:
        assert_promises_kept(inside, text)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([*MIXED[2].split(), *MIXED[5].split(), "\u200b", "—", "«", "»", "!", "1,5"]), max_size=30)
)
def test_any_mixture_of_words_keeps_the_promises(scorer: Scorer, words: list[str]) -> None:
    text = " ".join(["a", *words])
    (score,) = scorer.score_statements([text])
    assert_promises_kept(score, text)


def test_every_answer_names_the_model_that_made_it(scorer: Scorer) -> None:
    info = scorer.info
    (score,) = scorer.score_statements([STATEMENTS["en"][0]])
    document = scorer.score_document(STATEMENTS["en"][0])
    assert (score.model_version, score.bundle_digest) == (info.model_version, info.bundle_digest)
    assert (document.model_version, document.bundle_digest) == (info.model_version, info.bundle_digest)
    assert len(info.bundle_digest) == 64


def test_fewer_threads_give_the_same_scores(scorer: Scorer) -> None:
    single = credence.load_scorer(inference_threads=1)
    for first, second in zip(single.score_statements(MIXED), scorer.score_statements(MIXED), strict=True):
        assert_same(first, second)


def test_each_line_of_a_document_has_its_own_language(scorer: Scorer) -> None:
    text = (
        "The mayor resigned on Monday. Councillors voted for a new budget. "
        "Мер Києва пішов у відставку в понеділок після скандалу. Рада проголосувала за закон. "
        "Der Bürgermeister ist zurückgetreten. The bridge closed on Friday."
    )
    languages = [statement.language for statement in scorer.score_document(text).statements]
    assert languages == ["en", "en", "uk", "uk", None, "en"]
