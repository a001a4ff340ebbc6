"""A tiny scorer that is real enough: cue words give outcomes, letters give languages, and it keeps every promise."""

import re
from collections.abc import Sequence
from dataclasses import replace

from credence.labels import OUTCOMES, Outcome, Reason
from credence.scoring import DocumentScore, ModelInfo, StatementScore, roll_up

CUES = ((r"\?$", 3), (r"secretly|тайно|таємно", 2), (r"claim|заявив|заявил", 1), ("", 0))


class TinyScorer:
    @property
    def info(self) -> ModelInfo:
        return ModelInfo("tiny-1", "d" * 64, "c" * 16, 3, "r" * 32, {"statements": "s" * 64})

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        given = languages if languages is not None else [None] * len(texts)
        return [self._score(text, code or self._detect(text)) for text, code in zip(texts, given, strict=True)]

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        spans = [m.span() for m in re.finditer(r"[^\s.!?][^.!?]*[.!?]?", text)]
        scores = self.score_statements([text[a:b] for a, b in spans], languages=[language] * len(spans))
        moved = tuple(
            replace(s, start_char=a, end_char=b, read_end_char=b) for s, (a, b) in zip(scores, spans, strict=True)
        )
        return DocumentScore(moved, roll_up(moved), False, self.info.model_version, self.info.bundle_digest)

    def _detect(self, text: str) -> str | None:
        if re.search("[а-яіїєґ]", text):
            return "uk" if re.search("[іїєґ]", text) else "ru"
        return "en" if text.isascii() else None

    def _score(self, text: str, language: str | None) -> StatementScore:
        column = next(column for cue, column in CUES if re.search(cue, text))
        reason = Reason.NOT_A_CLAIM if column == 3 else None
        if len(text.split()) < 3 or language is None:
            reason = Reason.UNSUPPORTED_LANGUAGE if language is None else Reason.TOO_SHORT
        is_scored = reason in (None, Reason.NOT_A_CLAIM)
        best: Outcome = OUTCOMES[column]
        scores = {o: 0.7 if o is best else 0.1 for o in OUTCOMES} if is_scored else None
        return StatementScore(
            label=None if reason else best, reason=reason, outcome=best if is_scored else None, scores=scores,
            confidence=0.7 if is_scored else None, prediction_set=(best,) if is_scored else None, language=language,
            start_char=0, end_char=len(text), is_cut=False, read_end_char=len(text),
            model_version=self.info.model_version, bundle_digest=self.info.bundle_digest,
        )  # fmt: skip
