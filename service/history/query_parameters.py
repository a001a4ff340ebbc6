"""The parameters of history and statistics as they stand in a URL. Each is refused in the words that describe it."""

from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self
from uuid import UUID

from fastapi import Request
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import InitErrorDetails, PydanticCustomError

from credence.labels import LABELS, Reason
from credence.language import SUPPORTED_LANGUAGES
from service.errors import Fault, ProblemType, RefusedRequestError
from service.history.tabular import TabularFormat
from service.schemas import REFUSED_VALUE, StrictRequest
from service.store.aggregate_queries import Bucket, Dimension
from service.store.records import MAX_TAG_CHARS, NO_LABEL, ScoreFilter

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1_000
_MAX_SEQ: Final = 2**63 - 1
_LABELS: Final = (*LABELS, NO_LABEL)


class GroupBy(StrEnum):
    """What a time series can be split by."""

    LABEL = Dimension.LABEL
    LANGUAGE = Dimension.LANGUAGE
    SOURCE = Dimension.SOURCE
    MODEL_VERSION = Dimension.MODEL_VERSION


def _parse_time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.utcoffset() is None:
        raise ValueError
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError from None


def _require_storable(value: str) -> str:
    # PostgreSQL cannot be asked for it, and nothing is kept with it.
    if "\0" in value:
        raise ValueError
    return value


def _require_label(value: str) -> str:
    if value not in _LABELS:
        raise ValueError
    return value


def _require_language(value: str) -> str:
    if value not in SUPPORTED_LANGUAGES:
        raise ValueError
    return value


Time = Annotated[datetime, BeforeValidator(_parse_time)]
Tag = Annotated[str, Field(max_length=MAX_TAG_CHARS), AfterValidator(_require_storable)]
Version = Annotated[str, Field(max_length=100), AfterValidator(_require_storable)]
Label = Annotated[str, AfterValidator(_require_label), Field(json_schema_extra={"enum": list(_LABELS)})]
Language = Annotated[
    str, AfterValidator(_require_language), Field(json_schema_extra={"enum": list(SUPPORTED_LANGUAGES)})
]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_TIME: Final = "ISO 8601 with an offset, as in 2026-03-01T00:00:00Z; in a URL + is %2B."
_TAG: Final = f"1 to {MAX_TAG_CHARS} characters, as the caller said."
_FORMAT: Final = f"One of {', '.join(TabularFormat)}; without it the header Accept decides."


class QueryParameters(StrictRequest):
    """Parameters of which an empty one counts as not given."""

    # In a URL everything is a string.
    model_config = ConfigDict(strict=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        return {name: value for name, value in data.items() if value != ""} if isinstance(data, dict) else data

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            faults = [cls._describe(e["loc"]) for e in error.errors() if e["loc"]]
            if not faults:
                raise
            raise ValidationError.from_exception_data(cls.__name__, faults) from None

    @classmethod
    def _describe(cls, location: tuple[int | str, ...]) -> InitErrorDetails:
        description = cls.model_fields[str(location[0])].description or ""
        return InitErrorDetails(type=_refusal(f"Expected here: {description}"), loc=location, input=None)


class PageRequest(QueryParameters):
    """Which page of a list is asked for."""

    limit: int = Field(DEFAULT_PAGE, ge=1, le=MAX_PAGE, description=f"The most rows of a page: 1 to {MAX_PAGE:,}.")
    cursor: str | None = Field(
        None, pattern=r"^[1-9][0-9]{0,17}$", description="`next_cursor` of the page before, as it was answered."
    )

    @property
    def before_seq(self) -> int | None:
        """Return the number before which the page begins."""
        return None if self.cursor is None else int(self.cursor)


class FilterParameters(QueryParameters):
    """Which scores are asked for; what is not given does not matter."""

    since: Time | None = Field(None, description=f"Scored from this time on: {_TIME}")
    until: Time | None = Field(None, description=f"Scored before this time: {_TIME}")
    label: Label | None = Field(None, description=f"One of {', '.join(_LABELS)}; {NO_LABEL} asks for those without.")
    reason: Reason | None = Field(None, description=f"Why there is no label: one of {', '.join(Reason)}.")
    language: Language | None = Field(None, description=f"One of {', '.join(SUPPORTED_LANGUAGES)}.")
    source: Tag | None = Field(None, description=f"Where it was published: {_TAG}")
    author: Tag | None = Field(None, description=f"Who wrote or said it: {_TAG}")
    document_id: Tag | None = Field(None, description=f"What it belongs to: {_TAG}")
    model_version: Version | None = Field(None, description="The version of the model, as `/v1/model` has it.")
    batch_id: UUID | None = Field(None, description="The id of the batch that it came in with.")
    min_confidence: Probability | None = Field(None, description="The least confidence, from 0 to 1.")
    max_confidence: Probability | None = Field(None, description="The greatest confidence, from 0 to 1.")
    is_disputed: bool | None = Field(None, description="true: only with feedback that disagrees; false: only without.")

    @model_validator(mode="after")
    def _refuse_empty_spans(self) -> Self:
        if self.since and self.until and self.since > self.until:
            raise _refusal("since is after until: exchange them.")
        low, high = self.min_confidence, self.max_confidence
        if low is not None and high is not None and low > high:
            raise _refusal("min_confidence is above max_confidence: exchange them.")
        return self

    def to_filter(self) -> ScoreFilter:
        """Return what the store is asked for."""
        return ScoreFilter(**{field.name: getattr(self, field.name) for field in fields(ScoreFilter)})


class TabularParameters(FilterParameters):
    """Which scores, and in which format."""

    format: TabularFormat | None = Field(None, description=_FORMAT)


class ScoreListParameters(TabularParameters):
    """Which page of a list, or how much of it."""

    limit: int | None = Field(
        None,
        ge=1,
        le=_MAX_SEQ,
        description=f"The most rows: 1 to {MAX_PAGE:,} in JSON, and {DEFAULT_PAGE} without it; else all without it.",
    )
    cursor: str | None = Field(
        None, pattern=r"^[1-9][0-9]{0,17}$", description="`next_cursor` of the page before, as it was answered."
    )

    @property
    def before_seq(self) -> int | None:
        """Return the number before which the page begins."""
        return None if self.cursor is None else int(self.cursor)


class SeriesParameters(TabularParameters):
    """How a time series is cut."""

    bucket: Bucket = Field(Bucket.DAY, description=f"One of {', '.join(Bucket)}; in UTC, and weeks begin on Monday.")
    group_by: GroupBy | None = Field(None, description=f"One of {', '.join(GroupBy)}; without it nothing is split.")
    fill: bool = Field(False, description="true: buckets without scores are rows of zeros too.")

    @property
    def dimension(self) -> Dimension:
        """Return what the series is split by."""
        return Dimension.ALL if self.group_by is None else Dimension(self.group_by)


class DeletionParameters(QueryParameters):
    """What is to be deleted; of both tags, what has both."""

    source: Tag | None = Field(None, description=f"Where it was published: {_TAG}")
    document_id: Tag | None = Field(None, description=f"What it belongs to: {_TAG}")

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if self.source is None and self.document_id is None:
            raise _refusal("Name a source or a document_id; whatever has that tag is deleted.")
        return self


async def refuse_repeated(request: Request) -> None:
    """Raise ``RefusedRequestError`` where a parameter is given more than once: all but one would be lost silently."""
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) > len(set(names)):
        detail = "A parameter is given more than once in the URL; give each once."
        raise RefusedRequestError([Fault(ProblemType.INVALID_FIELD, detail)])


def _refusal(message: str) -> PydanticCustomError:
    return PydanticCustomError(REFUSED_VALUE, "{expected}", {"expected": message})
