"""A sign for each label that is told apart without colour, on the terminal as on the pages."""

from typing import Final

from credence.labels import Outcome

NO_LABEL_SIGN: Final = "○"
SIGNS: Final = {
    Outcome.FACTUAL_REPORT: "●",
    Outcome.ALLEGATION: "▲",
    Outcome.LIKELY_DISINFORMATION_NARRATIVE: "■",
    Outcome.NOT_A_CLAIM: NO_LABEL_SIGN,
}
