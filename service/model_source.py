"""Where the served model comes from: the only place of the service that opens a bundle."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from credence.bundle import default_bundle_path, load_bundle
from credence.scoring import Scorer
from credence.statement_scorer import StatementScorer


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A scorer and what there is to tell about it.

    ``card`` is Markdown; ``calibration`` has the fields of ``credence.calibration.Calibration``, as plain values.
    """

    scorer: Scorer
    card: str
    calibration: dict[str, Any]


def load_served_model(bundle_path: Path | None = None) -> ServedModel:
    """Load the bundle in a folder, or the shipped one; raises ``BundleError``."""
    bundle = load_bundle(bundle_path or default_bundle_path())
    return ServedModel(scorer=StatementScorer(bundle), card=bundle.card, calibration=asdict(bundle.calibration))
