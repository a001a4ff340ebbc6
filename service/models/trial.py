"""Tries a bundle out before it may be served: in a process of its own first, so that nothing it does costs the service.

``python -m service.models.trial FOLDER`` says nothing of a bundle that may be served, and else what is wrong with it.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final
from uuid import uuid4

from sqlalchemy import String

from credence.errors import CredenceError
from credence.labels import OUTCOMES, Outcome
from credence.scoring import ModelInfo, StatementScore
from service.examples import STATEMENTS
from service.models.source import ServedModel, load_served_model
from service.schemas import ModelAnswer, ScoreAnswer
from service.store.tables import models

_REFUSED: Final = 3
_TRIAL_SECONDS: Final = 300
_MAX_REASON_CHARS: Final = 500
_NICENESS: Final = 10
_SUM_TOLERANCE: Final = 1e-6
# Scores of statements of three kinds in three languages that differ by less are no scores.
_LEAST_DIFFERENCE: Final = 1e-3


class TrialError(CredenceError):
    """A bundle may not be served; the message says why."""


def check_model(model: ServedModel) -> None:
    """Score the examples, which also warms a model up. Raises ``TrialError`` where the answers cannot be right.

    They must be finite, sum to 1, not be the same for everything, be in the language of the text, bear the name of the
    model, and be such as can be sent and kept.
    """
    info = model.scorer.info
    _check_info(info)
    try:
        scores = model.scorer.score_statements(list(STATEMENTS.values()))
    except Exception as error:
        raise TrialError(f"it does not score the examples ({type(error).__name__})") from error
    rows = [_check_score(score, language, info) for score, language in zip(scores, STATEMENTS, strict=True)]
    if all(abs(a[o] - b[o]) < _LEAST_DIFFERENCE for a, b in pairwise(rows) for o in OUTCOMES):
        raise TrialError("it scores statements of three kinds alike")
    try:
        answers = (
            ModelAnswer.from_served(model),
            ScoreAnswer.from_core([None] * len(scores), scores, None, info=info, request_id=uuid4()),
        )
        for answer in answers:
            json.dumps(answer.model_dump(), allow_nan=False, default=str)
    except ValueError as error:
        raise TrialError("what it says of itself or of a statement does not fit into an answer") from error


def check_successor(candidate: ModelInfo, served: ModelInfo) -> None:
    """Raise ``TrialError`` where a model was made with an older codebook than the one that is served."""
    if candidate.codebook_version < served.codebook_version:
        raise TrialError(
            f"it was made with codebook {candidate.codebook_version}, "
            f"and the served model with {served.codebook_version}: train it anew"
        )


def try_out_apart(path: Path) -> None:
    """Load and check a bundle in a process of its own; raises ``TrialError``, also where that process breaks down."""
    # Without -P a folder named "service" where somebody has started this one would take its place.
    command = [sys.executable, "-P", "-m", "service.models.trial", str(path)]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TRIAL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise TrialError(f"it was not loaded within {_TRIAL_SECONDS} seconds") from None
    if result.returncode == _REFUSED:
        raise TrialError(result.stdout.decode("utf-8", "replace").strip()[:_MAX_REASON_CHARS])
    if result.returncode:
        raise TrialError(f"the process that tried it out broke down with exit code {result.returncode}")


def main(arguments: list[str] | None = None) -> int:
    """Try out the bundle in a folder; see the head of this module."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    try:
        check_model(load_served_model(Path(folder)))
    except CredenceError as error:
        reason = str(error)
    except Exception as error:
        reason = f"it cannot be loaded ({type(error).__name__})"
    else:
        return 0
    sys.stdout.buffer.write(reason.encode("utf-8", "replace"))
    return _REFUSED


def _check_info(info: ModelInfo) -> None:
    for name in ("model_version", "mlflow_run_id", "calibration_id"):
        value, most = getattr(info, name), _column_length(name)
        if not (isinstance(value, str) and 1 <= len(value) <= most and value.isprintable()):
            raise TrialError(f"its {name} must be 1 to {most} printable characters")


def _column_length(name: str) -> int:
    kind = models.c[name].type
    assert isinstance(kind, String)
    assert kind.length is not None
    return kind.length


def _check_score(score: StatementScore, language: str, info: ModelInfo) -> Mapping[Outcome, float]:
    if (score.model_version, score.bundle_digest) != (info.model_version, info.bundle_digest):
        raise TrialError("its scores do not bear its name")
    if score.language != language:
        raise TrialError(f"it takes a text in {language} for {score.language}")
    row = score.scores
    if row is None or set(row) != set(OUTCOMES):
        raise TrialError(f"it has no scores for a text in {language}")
    if not all(math.isfinite(p) and 0 <= p <= 1 for p in row.values()):
        raise TrialError("it gives scores that are no numbers from 0 to 1")
    if abs(sum(row.values()) - 1) > _SUM_TOLERANCE:
        raise TrialError(f"its scores for one statement sum to {sum(row.values()):.3f}")
    return row


if __name__ == "__main__":
    raise SystemExit(main())
