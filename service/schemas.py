"""The shapes of requests and answers, and how the core's dataclasses turn into them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from credence.labels import DISCLAIMER, LABELS, MEANINGS, OUTCOMES, REASON_MEANINGS, Outcome, Reason
from credence.language import SUPPORTED_LANGUAGES
from credence.scoring import DocumentScore, ModelInfo, StatementScore
from service.models.source import ServedModel
from service.settings import MAX_STATEMENTS
from service.store.records import Tags
from service.store.tables import MAX_TAG_CHARS

UNKNOWN_FIELD: Final = "unknown_field"
# An error of our own, whose message repeats nothing of what was sent.
REFUSED_VALUE: Final = "refused_value"
Identifier = Annotated[
    str | None,
    Field(max_length=200, description="Any string of yours; it comes back with the result, repeats allowed."),
]
Tag = Annotated[str | None, Field(min_length=1, max_length=MAX_TAG_CHARS)]
# The language is checked by the core, so that its error has a type of its own; the enum is for readers of the schema.
Language = Annotated[
    str | None,
    Field(
        description="Overrides the detection of the language.",
        json_schema_extra={"anyOf": [{"type": "string", "enum": list(SUPPORTED_LANGUAGES)}, {"type": "null"}]},
    ),
]

Store = Annotated[
    bool | None,
    Field(description="Whether texts and scores are kept; false: nothing of them is. Null leaves it to the service."),
]


class StrictRequest(BaseModel):
    """A request that holds nothing but what is known here."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        # The framework's own error would carry the unknown name, and that can be a piece of a text.
        if isinstance(data, dict) and not data.keys() <= cls.model_fields.keys():
            known = ", ".join(cls.model_fields)
            raise PydanticCustomError(UNKNOWN_FIELD, "Only these fields are known: {known}", {"known": known})
        return data


class Tagged(BaseModel):
    """Whatever the caller wants to find a statement or document by later; kept with its scores."""

    source: Tag = Field(None, description="Where it was published.")
    author: Tag = Field(None, description="Who wrote or said it.")
    document_id: Tag = Field(None, description="What it belongs to, in a numbering of the caller's.")

    def to_tags(self) -> Tags:
        """Return the tags as they are kept."""
        return Tags(self.source, self.author, self.document_id)


class StatementRequest(StrictRequest, Tagged):
    """One statement: a sentence, a headline or a short post."""

    text: str = Field(description="The statement, read as written and out of context.")
    id: Identifier = None
    language: Language = None


class ScoreRequest(StrictRequest):
    """A list of statements. If one of them cannot be scored, none is."""

    statements: list[StatementRequest] = Field(min_length=1, max_length=MAX_STATEMENTS)
    store: Store = None


class DocumentRequest(StrictRequest, Tagged):
    """One text, which is split into statements."""

    text: str = Field(description="The text, which need not be split.")
    id: Identifier = None
    language: Language = None
    store: Store = None


class StatementAnswer(BaseModel):
    """What there is to say about one statement; offsets count Unicode characters of the text as sent."""

    label: Outcome | None = Field(description="One of the three labels; null exactly when `reason` is not.")
    reason: Reason | None = Field(description="Why there is no label.")
    outcome: Outcome | None = Field(description="The most probable outcome; null where the statement was not scored.")
    scores: dict[Outcome, float] | None = Field(description="Calibrated probabilities of the outcomes; they sum to 1.")
    confidence: float | None = Field(description="The highest of the scores.")
    prediction_set: list[Outcome] | None = Field(
        description="The outcomes that cannot be ruled out: the right one is among them nine times in ten."
    )
    language: str | None = Field(description="en, uk or ru; null where the text is in none of them.")
    start_char: int = Field(description="Where the statement begins in the text as sent.")
    end_char: int = Field(description="Where it ends, exclusive.")
    is_cut: bool = Field(description="Whether a part of the statement was too far back to be read.")
    read_end_char: int = Field(description="Nothing from here on was read, where `is_cut`.")
    model_version: str = Field(description="The version of the model that made the scores.")
    bundle_digest: str = Field(description="The digest of the bundle that made the scores.")


class _Identified(BaseModel):
    id: str | None = Field(description="The `id` of the request.")


class _Kept(BaseModel):
    score_id: UUID | None = Field(description="Under which it was kept, for `/v1/scores/{id}`; null where it was not.")


class StatementResult(StatementAnswer, _Kept, _Identified):
    """The answer for one statement of a list."""


class DocumentStatement(StatementAnswer, _Kept):
    """The answer for one statement of a document."""


class RollupAnswer(BaseModel):
    """A document in figures."""

    n_statements: int = Field(description="How many statements the text was split into.")
    label_counts: dict[Outcome, int] = Field(description="How many statements got each label.")
    label_shares: dict[Outcome, float] = Field(description="The same as a share of all statements.")
    reason_counts: dict[Reason, int] = Field(description="How many statements got no label, by reason.")
    mean_confidence: float | None = Field(description="The mean over the scored statements; null if there are none.")


class ModelLineage(BaseModel):
    """Which model made the scores: enough to walk back to the run and the data."""

    model_version: str
    bundle_digest: str
    calibration_id: str
    codebook_version: int
    mlflow_run_id: str
    data_digests: dict[str, str]

    @classmethod
    def from_core(cls, info: ModelInfo) -> Self:
        """Take over the fields of the core's model info."""
        return cls.model_validate(asdict(info))


class _Answer(BaseModel):
    request_id: UUID = Field(description="Names this request, as the header X-Request-Id does.")
    stored: bool = Field(description="Whether texts and scores were kept.")
    model: ModelLineage
    disclaimer: str = DISCLAIMER


class ScoreAnswer(_Answer):
    """The results, in the order of the request."""

    results: list[StatementResult]

    @classmethod
    def from_core(
        cls,
        identifiers: Sequence[str | None],
        scores: Sequence[StatementScore],
        score_ids: Sequence[UUID] | None,
        *,
        info: ModelInfo,
        request_id: UUID,
    ) -> Self:
        """Pair each statement's identifier with its score and, where it was kept, with the id of that."""
        ids: Sequence[UUID | None] = score_ids or [None] * len(scores)
        results = [
            StatementResult.model_validate({"id": identifier, "score_id": score_id, **asdict(score)})
            for identifier, score, score_id in zip(identifiers, scores, ids, strict=True)
        ]
        model = ModelLineage.from_core(info)
        return cls(results=results, model=model, request_id=request_id, stored=score_ids is not None)


class DocumentAnswer(_Answer, _Identified):
    """The statements of a document in reading order, and their roll-up."""

    stored_document_id: UUID | None = Field(
        description="Under which it was kept, for `/v1/documents/{id}`; null where it was not."
    )
    statements: list[DocumentStatement]
    rollup: RollupAnswer
    is_cut: bool = Field(description="Whether a part of any statement was not read.")
    model_version: str
    bundle_digest: str

    @classmethod
    def from_core(
        cls,
        identifier: str | None,
        document: DocumentScore,
        kept: tuple[UUID, Sequence[UUID]] | None,
        *,
        info: ModelInfo,
        request_id: UUID,
    ) -> Self:
        """Take over the fields of a document score. ``kept`` are the ids of the document and of its statements."""
        score_ids: Sequence[UUID | None] = kept[1] if kept else [None] * len(document.statements)
        return cls(
            id=identifier,
            request_id=request_id,
            stored=kept is not None,
            stored_document_id=kept[0] if kept else None,
            statements=[
                DocumentStatement.model_validate({"score_id": score_id, **asdict(score)})
                for score, score_id in zip(document.statements, score_ids, strict=True)
            ],
            rollup=RollupAnswer.model_validate(asdict(document.rollup)),
            is_cut=document.is_cut,
            model_version=document.model_version,
            bundle_digest=document.bundle_digest,
            model=ModelLineage.from_core(info),
        )


class Meaning(BaseModel):
    """A name and what it stands for."""

    name: str
    meaning: str


class ModelAnswer(BaseModel):
    """What is served: version, lineage, label scheme, calibration and model card."""

    version: str
    lineage: ModelLineage
    labels: list[Meaning] = Field(description="The labels that a statement can get.")
    reasons: list[Meaning] = Field(description="Why a statement can be without a label.")
    outcomes: list[Outcome] = Field(description="The outcomes that scores are given for, in their order.")
    calibration: dict[str, Any] = Field(
        description="The fitted calibration; its reliability table sets confidence against accuracy."
    )
    card: str = Field(description="The model card, in Markdown.")
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_served(cls, served: ServedModel) -> Self:
        """Say what a served model is."""
        info = served.scorer.info
        return cls(
            version=info.model_version,
            lineage=ModelLineage.from_core(info),
            labels=[Meaning(name=label, meaning=MEANINGS[label]) for label in LABELS],
            reasons=[Meaning(name=reason, meaning=meaning) for reason, meaning in REASON_MEANINGS.items()],
            outcomes=list(OUTCOMES),
            calibration=served.calibration,
            card=served.card,
        )


class Health(BaseModel):
    """The answer of a probe."""

    status: str


class ProblemItem(BaseModel):
    """One fault of a request."""

    type: str
    detail: str
    pointer: str


class Problem(BaseModel):
    """Problem details (RFC 9457). It never repeats the text that caused it."""

    type: str = Field(description="A stable URN that names the kind of problem.")
    title: str
    status: int
    detail: str
    pointer: str | None = Field(None, description="A JSON pointer to the first faulty item of the request.")
    errors: list[ProblemItem] | None = Field(None, description="The faults that have a pointer: the first 20.")
    more_errors: int | None = Field(None, description="How many faults there are beyond those listed, if any.")
