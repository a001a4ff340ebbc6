"""The public sets of the data pack, as ``datasets/sources.toml`` lists them: digests to check, licences to name."""

import tomllib
from pathlib import Path
from typing import Any, Final

from credence.bundle import file_digest

DATASETS_DIR: Final = Path(__file__).parent.parent / "datasets"
ANNOTATIONS_DIR: Final = DATASETS_DIR / "annotations"
GOLD_ORIGIN: Final = "gold/"
ANNOTATIONS_ORIGIN: Final = "annotations/"
FEEDBACK_ORIGIN: Final = "feedback/"


class CorpusError(ValueError):
    """A row or file of the corpus that is not what its record says; the message names the file and the row."""


def check_sources(data_pack: Path, *, datasets_dir: Path = DATASETS_DIR) -> int:
    """Compare every file that ``sources.toml`` names with its digest and return how many; raises ``CorpusError``."""
    manifest = tomllib.loads((datasets_dir / "sources.toml").read_text(encoding="utf-8"))
    gold = [(f"gold.{name}", entry) for name, entry in manifest["gold"].items()]
    entries = [*public_sets(datasets_dir=datasets_dir).items(), *gold]
    for name, entry in entries:
        path = data_pack / entry["file"]
        if not path.is_file():
            raise CorpusError(f"sources.toml [{name}]: the data pack has no {entry['file']}")
        found = file_digest(path)
        if found != entry["sha256"]:
            raise CorpusError(f"sources.toml [{name}]: {entry['file']} has SHA-256 {found}; expected {entry['sha256']}")
    return len(entries)


def public_sets(*, datasets_dir: Path = DATASETS_DIR) -> dict[str, dict[str, Any]]:
    """Return the table of each set that lies in the data pack, by its name."""
    manifest = tomllib.loads((datasets_dir / "sources.toml").read_text(encoding="utf-8"))
    return {name: entry for name, entry in manifest["sources"].items() if "file" in entry}


def set_of(origin: str) -> str:
    """Return the public set that an origin names, whoever labelled it; an origin of our own comes back as it is."""
    return origin.removeprefix(GOLD_ORIGIN).removeprefix(ANNOTATIONS_ORIGIN)


def source_licences(*, datasets_dir: Path = DATASETS_DIR) -> dict[str, str]:
    """Return the licence as stated of each public set, by its name."""
    manifest = tomllib.loads((datasets_dir / "sources.toml").read_text(encoding="utf-8"))
    return {name: entry["licence"] for name, entry in manifest["sources"].items()}
