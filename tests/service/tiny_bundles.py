"""Bundles that are whole and tiny: their graph is the name of a way to score, and ``load_tiny`` reads it."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from credence.bundle import BundlePaths, Manifest, default_bundle_path, load_bundle, write_manifest
from credence.labels import CODEBOOK_VERSION, OUTCOMES, Outcome
from credence.language import SUPPORTED_LANGUAGES
from credence.scoring import ModelInfo, StatementScore
from service.models.shelf import ModelShelf
from service.models.source import FolderSource, ServedModel
from service.models.supply import ModelSupply
from tests.service.tiny_scorer import TinyScorer

ALIAS = "champion"


class VariantScorer(TinyScorer):
    """Scores as the tiny scorer does, or in another way that has a name."""

    def __init__(self, info: ModelInfo, way: str) -> None:
        self._info = info
        self._way = way

    @property
    def info(self) -> ModelInfo:
        return self._info

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        if self._way == "breaks":
            raise RuntimeError("out of order")
        return super().score_statements(texts, languages=languages)

    def _score(self, text: str, language: str | None) -> StatementScore:
        score = super()._score(text, language)
        if score.scores is None:
            return score
        if self._way == "nameless":
            return replace(score, bundle_digest="0" * 64)
        if self._way == "deaf":
            return replace(score, language="en")
        return replace(score, **_CHANGES.get(self._way, lambda given: {})(score))


def _put(outcome: Outcome, confidence: float) -> dict[str, Any]:
    rest = (1 - confidence) / (len(OUTCOMES) - 1)
    scores = {o: confidence if o is outcome else rest for o in OUTCOMES}
    return {"label": outcome, "outcome": outcome, "confidence": confidence, "scores": scores}


def _turned(score: StatementScore) -> dict[str, Any]:
    assert score.outcome is not None
    return _put(OUTCOMES[(OUTCOMES.index(score.outcome) + 1) % 3], 0.7)


_CHANGES: dict[str, Any] = {
    "surer": lambda score: _put(score.outcome, 0.85) | {"label": score.label},
    "turned": _turned,
    "constant": lambda score: _put(OUTCOMES[0], 0.7),
    "endless": lambda score: {"scores": dict.fromkeys(OUTCOMES, math.nan)},
    "lavish": lambda score: {"scores": dict.fromkeys(OUTCOMES, 0.5)},
}


def make_bundle(folder: Path, version: str, way: str = "usual", **fields: Any) -> str:
    """Write a bundle, and return its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = BundlePaths(folder)
    paths.graph.write_text(json.dumps({"way": way}), encoding="utf-8")
    paths.weights.write_bytes(b"no weights")
    paths.tokenizer.write_text("{}", encoding="utf-8")
    paths.card.write_text(f"# Model {version}\n", encoding="utf-8")
    shutil.copy(BundlePaths(default_bundle_path()).calibration, paths.calibration)
    manifest = Manifest(
        format_version=1,
        model_version=version,
        outcomes=tuple(OUTCOMES),
        languages=SUPPORTED_LANGUAGES,
        codebook_version=CODEBOOK_VERSION,
        max_length_tokens=256,
        text_prefix="",
        mlflow_run_id="r" * 32,
        data_digests={},
        file_digests={},
    )
    return write_manifest(paths, replace(manifest, **fields))


def load_tiny(path: Path) -> ServedModel:
    bundle = load_bundle(path)
    manifest = bundle.manifest
    info = ModelInfo(
        manifest.model_version,
        bundle.digest,
        bundle.calibration.calibration_id,
        manifest.codebook_version,
        manifest.mlflow_run_id,
        manifest.data_digests,
    )
    way = json.loads(bundle.paths.graph.read_text(encoding="utf-8"))["way"]
    return ServedModel(VariantScorer(info, way), bundle.card, asdict(bundle.calibration))


class Market:
    """A folder of bundles with an alias, and the shelf of a service that gets its models there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "market"
        self.shelf_folder = folder / "state" / "models"
        self.tried: list[str] = []
        self.folder.mkdir(parents=True)

    def offer(self, version: str, way: str = "usual", **fields: Any) -> str:
        """Make a bundle, and return its digest."""
        return make_bundle(self.folder / version, version, way, **fields)

    def point_at(self, version: str) -> None:
        (self.folder / ALIAS).write_text(f"{version}\n", encoding="utf-8")

    def close_down(self) -> None:
        """Be away from now on."""
        self.folder.rename(self.folder.with_name("closed"))

    def open_again(self) -> None:
        self.folder.with_name("closed").rename(self.folder)

    def supply(self) -> ModelSupply:
        """Return the supply of a process that starts now."""
        source = FolderSource(self.folder, ALIAS)
        return ModelSupply(source, ModelShelf(self.shelf_folder), try_out=self._try_out, load=load_tiny)

    def _try_out(self, path: Path) -> None:
        self.tried.append(path.name)
