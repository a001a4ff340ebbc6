"""Scores texts with a bundle: checks, language, normal form, network, calibration, and the answer with its offsets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from credence.bundle import Bundle
from credence.calibration import Calibration
from credence.documents import join_document, split_document
from credence.errors import InvalidTextError
from credence.labels import OUTCOMES, Outcome, Reason
from credence.language import detect_language, require_language
from credence.model_scorer import Logits, OutcomeModel
from credence.normalise import Normalised, check_text, normalise_text
from credence.scoring import DocumentScore, ModelInfo, StatementScore, TimedScores

MIN_WORDS: Final = 3
_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class _Prepared:
    text: str
    normal: Normalised
    language: str | None
    reason: Reason | None


class StatementScorer:
    """The ``Scorer`` that runs a bundle."""

    def __init__(self, bundle: Bundle, *, inference_threads: int | None = None) -> None:
        """Make the network of a verified bundle ready; raises ``BundleError`` if its parts do not fit together."""
        manifest = bundle.manifest
        self._model = OutcomeModel(
            bundle.paths,
            text_prefix=manifest.text_prefix,
            max_length_tokens=manifest.max_length_tokens,
            inference_threads=inference_threads,
        )
        self._calibration: Calibration = bundle.calibration
        self._info = ModelInfo(
            model_version=manifest.model_version,
            bundle_digest=bundle.digest,
            calibration_id=bundle.calibration.calibration_id,
            codebook_version=manifest.codebook_version,
            mlflow_run_id=manifest.mlflow_run_id,
            data_digests=manifest.data_digests,
        )

    @property
    def info(self) -> ModelInfo:
        """Return which model makes the scores."""
        return self._info

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        """Score each text as one statement; see ``credence.scoring.Scorer``."""
        return self.score_timed(texts, languages=languages).scores

    def score_timed(self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None) -> TimedScores:
        """Score as ``score_statements`` does, and say what it took."""
        started = perf_counter()
        given = languages if languages is not None else [None] * len(texts)
        prepared = [self._prepare(i, text, code) for i, (text, code) in enumerate(zip(texts, given, strict=True))]
        prepare_seconds = perf_counter() - started
        scored = [p for p in prepared if p.reason is None]
        if not scored:
            return TimedScores([self._unscored(p) for p in prepared], 0, prepare_seconds, 0.0)
        logits = self._model.score_logits([p.normal.text for p in scored])
        answers = iter(self._answers(scored, logits))
        return TimedScores(
            scores=[next(answers) if p.reason is None else self._unscored(p) for p in prepared],
            n_tokens=logits.n_tokens,
            tokenise_seconds=prepare_seconds + logits.tokenise_seconds,
            infer_seconds=logits.infer_seconds,
        )

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        """Split a text into statements and score each; see ``credence.scoring.Scorer``."""
        pieces = split_document(text, language=language)
        scores = self.score_statements([p.text for p in pieces], languages=[p.language for p in pieces])
        return join_document(pieces, scores, self._info)

    def _prepare(self, index: int, text: str, code: str | None) -> _Prepared:
        try:
            check_text(text)
        except InvalidTextError as error:
            raise InvalidTextError(error.kind, error.message, index) from error
        normal = normalise_text(text)
        language = require_language(code) if code is not None else detect_language(normal.text)
        reason = None
        if len(_WORD.findall(normal.text)) < MIN_WORDS:
            reason = Reason.TOO_SHORT
        elif language is None:
            reason = Reason.UNSUPPORTED_LANGUAGE
        return _Prepared(text, normal, language, reason)

    def _unscored(self, prepared: _Prepared) -> StatementScore:
        return StatementScore(
            label=None,
            reason=prepared.reason,
            outcome=None,
            scores=None,
            confidence=None,
            prediction_set=None,
            language=prepared.language,
            start_char=0,
            end_char=len(prepared.text),
            is_cut=False,
            read_end_char=len(prepared.text),
            model_version=self._info.model_version,
            bundle_digest=self._info.bundle_digest,
        )

    def _answers(self, prepared: Sequence[_Prepared], logits: Logits) -> list[StatementScore]:
        probabilities = self._calibration.scaling.apply(logits.values)
        return [
            self._answer(p, row, read) for p, row, read in zip(prepared, probabilities, logits.read_chars, strict=True)
        ]

    def _answer(self, prepared: _Prepared, row: NDArray[np.float64], read_chars: int) -> StatementScore:
        outcome, confidence = OUTCOMES[int(row.argmax())], float(row.max())
        label: Outcome | None = outcome
        reason = None
        if confidence < self._calibration.ambiguous_below:
            label, reason = None, Reason.AMBIGUOUS
        elif outcome is Outcome.NOT_A_CLAIM:
            label, reason = None, Reason.NOT_A_CLAIM
        is_cut = read_chars < len(prepared.normal.text)
        language = prepared.language
        assert language is not None, "only a text of a known language is scored"
        columns = self._calibration.prediction_set(row, language)
        return replace(
            self._unscored(prepared),
            label=label,
            reason=reason,
            outcome=outcome,
            scores={o: float(p) for o, p in zip(OUTCOMES, row, strict=True)},
            confidence=confidence,
            prediction_set=tuple(OUTCOMES[i] for i in columns),
            is_cut=is_cut,
            read_end_char=int(prepared.normal.offsets[read_chars]) if is_cut else len(prepared.text),
        )
