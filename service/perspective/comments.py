"""From a comment of the Perspective API to a document and back: attributes, languages, spans and suggestions."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from credence.labels import Outcome, Reason
from credence.language import SUPPORTED_LANGUAGES
from credence.scoring import DocumentScore, StatementScore
from service.perspective.errors import CommentRefusedError
from service.perspective.schemas import (
    ATTRIBUTES,
    AnalyzeAnswer,
    AnalyzeRequest,
    AttributeScores,
    CommentRequest,
    Score,
    SpanScore,
    SuggestRequest,
    Utf16Offsets,
)
from service.schemas import DocumentRequest

_HTML: Final = "HTML"
_UNKNOWN_LANGUAGE: Final = "und"
# Half is what a suggestion must reach to propose something.
_LEAST_SUGGESTED: Final = 0.5
_OFFER: Final = f"This service has {', '.join(ATTRIBUTES)}."
_ONE_STATEMENT: Final = (
    "A suggestion is for one statement, and {n} lie in what this one is for: give spanScores with begin and end, as "
    "analyze answers them with spanAnnotations."
)
_NO_PROPOSAL: Final = "Say what each statement should have been: one attribute with the highest value, at least 0.5."


@dataclass(frozen=True, slots=True)
class Suggestion:
    """How probable an outcome should have been for what lies between two offsets; null means the whole comment."""

    outcome: Outcome
    value: float
    begin: int | None = None
    end: int | None = None


def read_document(request: CommentRequest, *, store: bool | None = None) -> DocumentRequest:
    """Return the document that a comment is kept as. Raises ``CommentRefusedError``."""
    if request.comment.type == _HTML:
        raise CommentRefusedError("Currently, only 'PLAIN_TEXT' comments are supported.")
    codes = {_to_code(language) for language in request.languages or ()}
    return DocumentRequest(
        text=request.comment.text or "",
        id=request.client_token,
        source=request.community_id or None,
        author=None,
        document_id=None,
        language=codes.pop() if len(codes) == 1 and codes <= set(SUPPORTED_LANGUAGES) else None,
        store=store,
    )


def choose_attributes(request: AnalyzeRequest) -> dict[str, Outcome]:
    """Return which outcomes are asked for, by their attributes. Raises ``CommentRefusedError``."""
    asked = request.requested_attributes
    if not asked:
        raise CommentRefusedError(f"Missing requested_attributes. {_OFFER}", "NO_REQUESTED_ATTRIBUTES")
    if not asked.keys() <= ATTRIBUTES.keys() and not request.drop_unsupported_attributes:
        raise CommentRefusedError(f"Unknown requested attribute. {_OFFER}")
    wanted = {name: ATTRIBUTES[name] for name in asked if name in ATTRIBUTES}
    if not all(_to_code(language) in SUPPORTED_LANGUAGES for language in request.languages or ()):
        return _refuse_language(request, wanted)
    return wanted


def build_answer(request: AnalyzeRequest, wanted: Mapping[str, Outcome], document: DocumentScore) -> AnalyzeAnswer:
    """Return the scores of a comment. Raises ``CommentRefusedError`` where none of its statements was scored."""
    scored = [statement for statement in document.statements if statement.scores is not None]
    languages = Counter(statement.language or _UNKNOWN_LANGUAGE for statement in document.statements)
    detected = [language for language, _ in languages.most_common()] or [_UNKNOWN_LANGUAGE]
    if wanted and not scored:
        wanted = _refuse_unscored(request, wanted, document, detected)
    text = request.comment.text or ""
    scores = {name: _attribute_scores(request, name, outcome, scored, text) for name, outcome in wanted.items()}
    return AnalyzeAnswer(
        attribute_scores={name: score for name, score in scores.items() if score is not None},
        languages=request.languages or detected,
        detected_languages=None if request.languages else detected,
        client_token=request.client_token,
    )


def read_suggestions(request: SuggestRequest) -> list[Suggestion]:
    """Return what is suggested, of the whole comment first. Raises ``CommentRefusedError``."""
    if not request.attribute_scores.keys() <= ATTRIBUTES.keys():
        raise CommentRefusedError(f"Unknown attribute. {_OFFER}")
    whole, parts = [], []
    for name, given in request.attribute_scores.items():
        if given.summary_score is not None:
            whole.append(Suggestion(ATTRIBUTES[name], given.summary_score.value))
        for span in given.span_scores or ():
            if span.begin is None or span.end is None:
                raise CommentRefusedError("All SpanScore objects must have begin and end fields set.")
            parts.append(Suggestion(ATTRIBUTES[name], span.score.value, span.begin, span.end))
    if not whole and not parts:
        raise CommentRefusedError("attributeScores must hold a summaryScore or spanScores.")
    return whole + parts


def propose(suggestions: Sequence[Suggestion], text: str, statements: Sequence[StatementScore]) -> dict[int, Outcome]:
    """Return which statements should have had which outcome, by their place. Raises ``CommentRefusedError``."""
    units = Utf16Offsets(text)
    spans = [(units(statement.start_char), units(statement.end_char)) for statement in statements]
    values: defaultdict[int, dict[Outcome, float]] = defaultdict(dict)
    for suggestion in suggestions:
        values[_find_statement(suggestion, spans)][suggestion.outcome] = suggestion.value
    return {index: _choose_outcome(given) for index, given in values.items()}


def _find_statement(suggestion: Suggestion, spans: Sequence[tuple[int, int]]) -> int:
    begin, end = suggestion.begin, suggestion.end
    found = [
        index
        for index, (first, last) in enumerate(spans)
        if (begin is None or begin <= first) and (end is None or last <= end)
    ]
    if len(found) != 1:
        raise CommentRefusedError(_ONE_STATEMENT.format(n=len(found)))
    return found[0]


def _choose_outcome(given: Mapping[Outcome, float]) -> Outcome:
    highest = max(given.values())
    best = [outcome for outcome, value in given.items() if value == highest]
    if highest < _LEAST_SUGGESTED or len(best) > 1:
        raise CommentRefusedError(_NO_PROPOSAL)
    return best[0]


def _attribute_scores(
    request: AnalyzeRequest, name: str, outcome: Outcome, scored: Sequence[StatementScore], text: str
) -> AttributeScores | None:
    parameters = (request.requested_attributes or {}).get(name)
    least = (parameters.score_threshold if parameters else None) or 0.0
    values = [statement.scores[outcome] for statement in scored if statement.scores is not None]
    highest, units = max(values), Utf16Offsets(text)
    if highest < least:
        return None
    spans = [(0, len(text), highest)]
    if request.span_annotations:
        spans = [(s.start_char, s.end_char, value) for s, value in zip(scored, values, strict=True) if value >= least]
    return AttributeScores(
        span_scores=[SpanScore(begin=units(a), end=units(b), score=Score(value=value)) for a, b, value in spans],
        summary_score=Score(value=highest),
    )


def _refuse_unscored(
    request: AnalyzeRequest, wanted: Mapping[str, Outcome], document: DocumentScore, detected: Sequence[str]
) -> dict[str, Outcome]:
    if any(statement.reason is Reason.UNSUPPORTED_LANGUAGE for statement in document.statements):
        return _refuse_language(request, wanted, detected)
    raise CommentRefusedError(
        "The comment has no statement of three words or more, so that there are no scores.", "COMMENT_TOO_SHORT"
    )


def _refuse_language(
    request: AnalyzeRequest, wanted: Mapping[str, Outcome], detected: Sequence[str] = ()
) -> dict[str, Outcome]:
    if request.drop_unsupported_attributes or not wanted:
        return {}
    name = next(iter(wanted))
    more = {"attribute": name, **({"detectedLanguages": list(detected)} if detected else {})}
    raise CommentRefusedError(
        f"Attribute {name} does not support request languages: this service reads {', '.join(SUPPORTED_LANGUAGES)}.",
        "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
        more={"languageNotSupportedByAttributeError": more},
    )


def _to_code(language: str) -> str:
    # Of a BCP 47 tag such as uk-UA only the language itself is of interest.
    return language.replace("_", "-").partition("-")[0].lower()
