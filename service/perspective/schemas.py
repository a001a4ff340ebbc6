"""The shapes of the Perspective API's two methods, which end on 31 December 2026, so that its tools can move here.

Names are in camelCase, and in snake_case they are read too, as that API does. Offsets count UTF-16 code units.
"""

from bisect import bisect_left
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from credence.labels import MEANINGS, Outcome
from service.schemas import UNKNOWN_FIELD, StrictRequest
from service.store.records import MAX_TAG_CHARS

# Our outcomes, as that API writes its attributes.
ATTRIBUTES: Final = {outcome.name: outcome for outcome in Outcome}
PROBABILITY: Final = "PROBABILITY"
_MAX_UNIT: Final = 0xFFFF
_ATTRIBUTES: Final = "; ".join(f"`{name}`: {MEANINGS[outcome]}" for name, outcome in ATTRIBUTES.items())
_Name = Annotated[str | None, Field(max_length=MAX_TAG_CHARS)]
_Type = Literal["PROBABILITY", "SCORE_TYPE_UNSPECIFIED"] | None


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class _Request(StrictRequest):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        known = [to_camel(name) for name in cls.model_fields]
        if isinstance(data, dict) and not data.keys() <= {*known, *cls.model_fields}:
            raise PydanticCustomError(UNKNOWN_FIELD, "Only these fields: {known}", {"known": ", ".join(known)})
        return data


class TextEntry(_Request):
    """A comment."""

    text: str | None = Field(None, description="The comment.")
    type: Literal["PLAIN_TEXT", "HTML", "TEXT_TYPE_UNSPECIFIED"] | None = Field(
        None, description="Only PLAIN_TEXT is read, and is meant where nothing is said."
    )


class AttributeParameters(_Request):
    """How an attribute is asked for."""

    score_type: _Type = Field(None, description="Scores are probabilities.")
    score_threshold: float | None = Field(None, description="Scores below it are left out.")


class CommentRequest(_Request):
    """What both methods are told of a comment."""

    comment: TextEntry
    context: dict[str, Any] | None = Field(None, description="Taken and passed over, as in that API.")
    languages: list[str] | None = Field(
        None, description="en, uk or ru, where the language need not be detected; of several each line has its own."
    )
    client_token: _Name = Field(None, description="Comes back as it is, and is kept as the `id` of the comment.")
    session_id: _Name = Field(None, description="With a suggestion it is kept as the `reviewer`.")
    community_id: _Name = Field(None, description="Kept as the `source` of the comment.")


class AnalyzeRequest(CommentRequest):
    """A comment that is to be scored."""

    requested_attributes: dict[str, AttributeParameters | None] | None = Field(None, description=_ATTRIBUTES)
    span_annotations: bool | None = Field(
        None, description="true: a span for each statement; else one for the whole comment."
    )
    do_not_store: bool | None = Field(
        None, description="true: nothing of the comment is kept; else the service decides, as its settings say."
    )
    drop_unsupported_attributes: bool | None = Field(
        None, description="true: attributes that are not here, or not for the language, are left out of the answer."
    )


class Score(_Request):
    """A probability."""

    value: float = Field(ge=0, le=1, allow_inf_nan=False)
    type: _Type = PROBABILITY


class SpanScore(_Request):
    """A probability of a part of the comment."""

    begin: int | None = Field(None, ge=0, description="Where it begins, in UTF-16 code units.")
    end: int | None = Field(None, ge=0, description="Where it ends, exclusive.")
    score: Score


class AttributeScores(_Request):
    """The probabilities of one attribute."""

    span_scores: list[SpanScore] | None = None
    summary_score: Score | None = Field(
        None, description="Of the whole comment: the highest of its statements, each of which has a score of its own."
    )


class SuggestRequest(CommentRequest):
    """What the scores of a comment should have been."""

    attribute_scores: dict[str, AttributeScores] = Field(
        description="1 for what a statement is. A summary score is for a comment of one statement; else name spans."
    )


class AnalyzeAnswer(_Camel):
    """The scores of a comment."""

    attribute_scores: dict[str, AttributeScores]
    languages: list[str] = Field(description="Those of the request, or those that were detected.")
    detected_languages: list[str] | None = Field(None, description="Null where the request says the language.")
    client_token: str | None = None


class SuggestAnswer(_Camel):
    """A suggestion is kept."""

    client_token: str | None = None
    requested_languages: list[str] | None = None


class GoogleStatus(BaseModel):
    """What went wrong, as Google's APIs say it."""

    code: int
    message: str
    status: str
    details: list[dict[str, Any]]


class GoogleError(BaseModel):
    """The answer where something went wrong. It never repeats what was sent."""

    error: GoogleStatus


FIELD_NAMES: Final = frozenset(
    to_camel(name)
    for kind in (AnalyzeRequest, SuggestRequest, TextEntry, AttributeParameters, AttributeScores, SpanScore, Score)
    for name in kind.model_fields
)


class Utf16Offsets:
    """Turns offsets in characters of a text into offsets in UTF-16 code units."""

    def __init__(self, text: str) -> None:
        self._wide = [index for index, letter in enumerate(text) if ord(letter) > _MAX_UNIT]

    def __call__(self, index: int) -> int:
        """Return how many units there are before the character with an index."""
        return index + bisect_left(self._wide, index)
