import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from credence.language import SUPPORTED_LANGUAGES
from training.corpora import SPLITS
from training.sources import check_sources, source_licences

DATASETS = Path(__file__).parents[2] / "datasets"
DESCRIPTION = {"title", "languages", "origin", "licence", "use", "caveat"}
LOCATION = {"file", "sha256", "rows", "row_key"}

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return tomllib.loads((DATASETS / "sources.toml").read_text(encoding="utf-8"))


def filed(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the entries that have a file: a set that only gold was drawn from has none in the pack."""
    return [entry for entry in (*manifest["sources"].values(), *manifest["gold"].values()) if "file" in entry]


def test_every_set_is_described(manifest: Manifest) -> None:
    for name, entry in manifest["sources"].items():
        assert all(entry.get(field) for field in DESCRIPTION), name
        assert LOCATION & set(entry) in (LOCATION, set()), name


def test_every_file_has_a_path_in_the_pack_and_a_digest_of_its_own(manifest: Manifest) -> None:
    entries = filed(manifest)
    for entry in entries:
        assert re.fullmatch(r"(sets|gold)/\w+\.jsonl(\.gz)?", entry["file"])
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"]), entry["file"]
        assert entry["rows"] > 0, entry["file"]
    for field in ("file", "sha256"):
        assert len({entry[field] for entry in entries}) == len(entries)


def test_sets_are_in_our_languages(manifest: Manifest) -> None:
    for name, entry in manifest["sources"].items():
        assert set(entry["languages"]) <= set(SUPPORTED_LANGUAGES), name


def test_commits_are_commits(manifest: Manifest) -> None:
    for name, entry in manifest["sources"].items():
        commits = entry.get("commit", "").split(";")
        assert all(re.fullmatch(r"\s*([0-9a-f]{7,40})?\s*", commit) for commit in commits), name


def test_every_origin_of_gold_has_a_licence_on_record() -> None:
    lines = [line for split in SPLITS for line in (DATASETS / "gold" / f"{split}.jsonl").read_text().splitlines()]
    licences = source_licences()
    assert {json.loads(line)["origin"] for line in lines} <= set(licences)
    assert all(licences.values())


def test_gold_has_as_many_records_as_texts(manifest: Manifest) -> None:
    for split in SPLITS:
        lines = (DATASETS / "gold" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == manifest["gold"][split]["rows"]


def test_the_data_pack_is_the_one_described(data_pack: Path, manifest: Manifest) -> None:
    assert check_sources(data_pack) == len(filed(manifest))
