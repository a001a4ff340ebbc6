"""The label scheme of the codebook: the only place where a label's name, order and meaning are spelt."""

from enum import StrEnum
from typing import Final

CODEBOOK_VERSION: Final = 4


class Outcome(StrEnum):
    """What a statement can turn out to be, in the order of the columns of every score array.

    The first three are labels; ``NOT_A_CLAIM`` is the outcome that gives no label.
    """

    FACTUAL_REPORT = "factual_report"
    ALLEGATION = "allegation"
    LIKELY_DISINFORMATION_NARRATIVE = "likely_disinformation_narrative"
    NOT_A_CLAIM = "not_a_claim"


OUTCOMES: Final[tuple[Outcome, ...]] = tuple(Outcome)
LABELS: Final[tuple[Outcome, ...]] = OUTCOMES[:3]


class Reason(StrEnum):
    """Why a result carries no label."""

    NOT_A_CLAIM = "not_a_claim"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    TOO_SHORT = "too_short"
    AMBIGUOUS = "ambiguous"


MEANINGS: Final[dict[Outcome, str]] = {
    Outcome.FACTUAL_REPORT: "Put forward as an established, checkable event, state or figure, in a neutral register.",
    Outcome.ALLEGATION: (
        "Not established as presented: somebody's word about others, or hedged, predicted, guessed, opined."
    ),
    Outcome.LIKELY_DISINFORMATION_NARRATIVE: (
        "Pushes, in its own voice or through a speaker it endorses, a storyline of the kind that fact-checkers "
        "have rated false or manipulative."
    ),
    Outcome.NOT_A_CLAIM: "Asserts nothing that could be checked, so it gets no label.",
}

REASON_MEANINGS: Final[dict[Reason, str]] = {
    Reason.NOT_A_CLAIM: "The line asserts nothing that could be checked.",
    Reason.UNSUPPORTED_LANGUAGE: "The line is not in English, Ukrainian or Russian, so it was not scored.",
    Reason.TOO_SHORT: "The line has too few words to be read on its own, so it was not scored.",
    Reason.AMBIGUOUS: "No outcome is more likely than not; the prediction set says which ones remain.",
}

DISCLAIMER: Final = "A label says how a line is put, never whether it is true."
