"""The examples of the API's documentation, in the three languages. The figures only show the shape of an answer."""

from collections.abc import Callable
from typing import Any, Final

from credence.labels import DISCLAIMER, LABELS, OUTCOMES, Outcome, Reason

STATEMENTS: Final = {
    "en": "The city council voted 31 to 4 on Tuesday to close the old bridge for repairs.",
    "uk": "Міністр заявив, що сусідня країна нібито готує нові обмеження на транзит зерна.",
    "ru": "За спиной правительства всем тайно управляет кучка иностранных банкиров.",
}
LANGUAGE_NAMES: Final = {"en": "English", "uk": "Ukrainian", "ru": "Russian"}
_OUTCOMES: Final = {
    "en": Outcome.FACTUAL_REPORT,
    "uk": Outcome.ALLEGATION,
    "ru": Outcome.LIKELY_DISINFORMATION_NARRATIVE,
}
_CONFIDENCE: Final = 0.91
_MODEL: Final[dict[str, Any]] = {
    "model_version": "0.0.0-example",
    "bundle_digest": "0" * 64,
    "calibration_id": "0" * 16,
    "codebook_version": 3,
    "mlflow_run_id": "0" * 32,
    "data_digests": {"statements": "0" * 64},
}
_UUID: Final = "00000000-0000-4000-8000-000000000000"
_ANSWER: Final[dict[str, Any]] = {"request_id": _UUID, "stored": True, "model": _MODEL, "disclaimer": DISCLAIMER}


def score_requests() -> dict[str, Any]:
    """Return one list of statements for each language, as OpenAPI examples."""
    return _by_language(lambda code: {"statements": [{"id": f"{code}-1", "text": STATEMENTS[code], "language": code}]})


def score_answers() -> dict[str, Any]:
    """Return the answers that belong to ``score_requests``."""
    return _by_language(
        lambda code: {
            **_ANSWER,
            "results": [{"id": f"{code}-1", **_statement(code)}],
        }
    )


def document_requests() -> dict[str, Any]:
    """Return one document for each language, as OpenAPI examples."""
    return _by_language(lambda code: {"id": f"{code}-article", "text": STATEMENTS[code]})


def document_answers() -> dict[str, Any]:
    """Return the answers that belong to ``document_requests``."""
    return _by_language(
        lambda code: {
            **_ANSWER,
            "id": f"{code}-article",
            "stored_document_id": _UUID,
            "statements": [_statement(code)],
            "rollup": {
                "n_statements": 1,
                "label_counts": {label: int(label == _OUTCOMES[code]) for label in LABELS},
                "label_shares": {label: float(label == _OUTCOMES[code]) for label in LABELS},
                "reason_counts": dict.fromkeys(Reason, 0),
                "mean_confidence": _CONFIDENCE,
            },
            "is_cut": False,
            "model_version": _MODEL["model_version"],
            "bundle_digest": _MODEL["bundle_digest"],
        }
    )


def _statement(code: str) -> dict[str, Any]:
    outcome, length = _OUTCOMES[code], len(STATEMENTS[code])
    return {
        "score_id": _UUID,
        "label": outcome,
        "reason": None,
        "outcome": outcome,
        "scores": {other: _CONFIDENCE if other == outcome else 0.03 for other in OUTCOMES},
        "confidence": _CONFIDENCE,
        "prediction_set": [outcome],
        "language": code,
        "start_char": 0,
        "end_char": length,
        "is_cut": False,
        "read_end_char": length,
        "model_version": _MODEL["model_version"],
        "bundle_digest": _MODEL["bundle_digest"],
    }


def _by_language(build: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return {code: {"summary": LANGUAGE_NAMES[code], "value": build(code)} for code in STATEMENTS}
