"""The bundle: the folder in which a trained model travels from training to the service. Loading is all-or-error."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from credence.calibration import Calibration
from credence.errors import BundleError
from credence.labels import CODEBOOK_VERSION, OUTCOMES
from credence.language import SUPPORTED_LANGUAGES

FORMAT_VERSION: Final = 1
MANIFEST_NAME: Final = "manifest.json"
# Under this tag a registry keeps the digest of the bundle that was measured, for whoever fetches it.
DIGEST_TAG: Final = "bundle_digest"


@dataclass(frozen=True, slots=True)
class BundlePaths:
    """Where each part of a bundle lies."""

    root: Path

    @property
    def manifest(self) -> Path:
        """Version, lineage and the digest of every other file."""
        return self.root / MANIFEST_NAME

    @property
    def graph(self) -> Path:
        """The network without its weights, as OpenVINO IR: embeddings and attention mask in, logits out."""
        return self.root / "graph.xml"

    @property
    def weights(self) -> Path:
        """The block-quantised weights of the network and of the word embedding."""
        return self.root / "weights.npz"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, as ``tokenizers`` writes it."""
        return self.root / "tokenizer.json"

    @property
    def calibration(self) -> Path:
        """The fitted calibration."""
        return self.root / "calibration.json"

    @property
    def card(self) -> Path:
        """The model card, in Markdown."""
        return self.root / "card.md"

    @property
    def parts(self) -> tuple[Path, ...]:
        """Every file but the manifest."""
        return (self.graph, self.weights, self.tokenizer, self.calibration, self.card)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself. ``text_prefix`` is put before each text, as the encoder was trained with it."""

    format_version: int
    model_version: str
    outcomes: tuple[str, ...]
    languages: tuple[str, ...]
    codebook_version: int
    max_length_tokens: int
    text_prefix: str
    mlflow_run_id: str
    data_digests: dict[str, str]
    file_digests: dict[str, str]

    def to_json(self) -> str:
        """Return the manifest as JSON text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files were all found and matched their digests; ``digest`` names the whole."""

    paths: BundlePaths
    manifest: Manifest
    calibration: Calibration
    digest: str

    @property
    def card(self) -> str:
        """Return the model card in Markdown."""
        return self.paths.card.read_text(encoding="utf-8")


def default_bundle_path() -> Path:
    """Return the path of the bundle that ships inside the package."""
    return Path(__file__).parent / "bundles" / "default"


def write_manifest(paths: BundlePaths, manifest: Manifest) -> str:
    """Write the manifest with the digests of the files as they lie, and return the digest of the bundle."""
    digests = {part.name: file_digest(part) for part in paths.parts}
    known = {field.name: getattr(manifest, field.name) for field in fields(manifest)}
    text = Manifest(**{**known, "file_digests": digests}).to_json()
    paths.manifest.write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def load_bundle(root: Path) -> Bundle:
    """Read and verify a bundle. Raises ``BundleError`` that names the first fault and what was expected."""
    paths = BundlePaths(root)
    if not paths.manifest.is_file():
        raise BundleError(f"no bundle at {root}: {MANIFEST_NAME} is missing; train one or name another folder")
    raw = paths.manifest.read_bytes()
    manifest = _parse_manifest(raw)
    _check_promises(manifest)
    for part in paths.parts:
        _check_part(part, manifest.file_digests.get(part.name))
    try:
        calibration = Calibration.from_json(paths.calibration.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{paths.calibration.name} is not a calibration: {error}") from error
    missing = [code for code in manifest.languages if code not in calibration.set_thresholds]
    if missing:
        raise BundleError(
            f"{paths.calibration.name} has no set threshold for {', '.join(missing)}; fit it on every language"
        )
    return Bundle(paths, manifest, calibration, hashlib.sha256(raw).hexdigest())


def _parse_manifest(raw: bytes) -> Manifest:
    try:
        content: dict[str, Any] = json.loads(raw)
        lists = {name: tuple(content[name]) for name in ("outcomes", "languages")}
        tables = {name: dict(content[name]) for name in ("data_digests", "file_digests")}
        return Manifest(**{**content, **lists, **tables})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_NAME} is not a manifest of format {FORMAT_VERSION}: {error}") from error


def _check_promises(manifest: Manifest) -> None:
    expected = {
        "format_version": FORMAT_VERSION,
        "outcomes": tuple(OUTCOMES),
        "languages": SUPPORTED_LANGUAGES,
    }
    for name, value in expected.items():
        found = getattr(manifest, name)
        if found != value:
            raise BundleError(f"the bundle has {name} {found}; this version of Credence expects {value}")
    # Labels of an older version of the codebook stay valid; those of a newer one are not known here.
    if not 1 <= manifest.codebook_version <= CODEBOOK_VERSION:
        raise BundleError(
            f"the bundle has codebook_version {manifest.codebook_version}; "
            f"this version of Credence expects {CODEBOOK_VERSION} or older"
        )


def _check_part(part: Path, expected: str | None) -> None:
    if not part.is_file():
        raise BundleError(f"{part.name} is missing from the bundle; copy the whole folder again")
    found = file_digest(part)
    if found != expected:
        raise BundleError(f"{part.name} has SHA-256 {found}; the manifest says {expected}: copy the whole folder again")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
