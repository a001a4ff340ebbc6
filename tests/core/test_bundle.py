"""Loading a bundle is all or error, and the error names the fault."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from credence.bundle import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    BundlePaths,
    Manifest,
    default_bundle_path,
    load_bundle,
    write_manifest,
)
from credence.errors import BundleError
from credence.labels import CODEBOOK_VERSION, OUTCOMES

PARTS = [part.name for part in BundlePaths(Path()).parts]
MAX_BUNDLE_MB = 50


def rewrite(path: Path, content: bytes) -> None:
    """Put new content in place of a link to the shipped file."""
    path.unlink()
    path.write_bytes(content)


def alter_manifest(paths: BundlePaths, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(paths.manifest.read_bytes())
    change(content)
    rewrite(paths.manifest, json.dumps(content).encode())


def test_the_shipped_bundle_is_whole_and_says_what_it_is() -> None:
    bundle = load_bundle(default_bundle_path())
    manifest = bundle.manifest
    assert manifest.outcomes == OUTCOMES
    assert manifest.codebook_version <= CODEBOOK_VERSION
    assert set(manifest.languages) == {"en", "uk", "ru"} == set(bundle.calibration.set_thresholds)
    assert manifest.mlflow_run_id
    assert manifest.data_digests
    assert bundle.card.startswith("# Model card")


def test_the_shipped_bundle_is_small_enough_to_ship() -> None:
    n_bytes = sum(path.stat().st_size for path in default_bundle_path().iterdir())
    assert n_bytes <= MAX_BUNDLE_MB * 1_000_000


def test_the_shipped_bundle_holds_no_stray_files() -> None:
    assert sorted(path.name for path in default_bundle_path().iterdir()) == sorted([MANIFEST_NAME, *PARTS])


def test_a_copy_has_the_digest_of_its_original(bundle_copy: BundlePaths) -> None:
    assert load_bundle(bundle_copy.root).digest == load_bundle(default_bundle_path()).digest


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_file_is_named(bundle_copy: BundlePaths, name: str) -> None:
    (bundle_copy.root / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_bundle(bundle_copy.root)


@pytest.mark.parametrize("name", PARTS)
def test_an_altered_file_is_named_with_both_digests(bundle_copy: BundlePaths, name: str) -> None:
    expected = load_bundle(bundle_copy.root).manifest.file_digests[name]
    content = (bundle_copy.root / name).read_bytes()
    rewrite(bundle_copy.root / name, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"{name} has SHA-256 [0-9a-f]{{64}}; the manifest says {expected}"):
        load_bundle(bundle_copy.root)


def test_a_folder_without_manifest_is_no_bundle(bundle_copy: BundlePaths) -> None:
    bundle_copy.manifest.unlink()
    with pytest.raises(BundleError, match=r"no bundle at .*manifest\.json is missing"):
        load_bundle(bundle_copy.root)


def test_neither_a_missing_folder_nor_a_file_is_a_bundle(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", Path(__file__)):
        with pytest.raises(BundleError, match="no bundle at"):
            load_bundle(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe"])
def test_a_manifest_that_is_none_is_refused(bundle_copy: BundlePaths, content: bytes) -> None:
    rewrite(bundle_copy.manifest, content)
    with pytest.raises(BundleError, match=r"manifest\.json is not a manifest"):
        load_bundle(bundle_copy.root)


@pytest.mark.parametrize("name", [field.name for field in fields(Manifest)])
def test_a_manifest_that_lacks_a_field_is_refused_naming_it(bundle_copy: BundlePaths, name: str) -> None:
    alter_manifest(bundle_copy, lambda content: content.pop(name))
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle_copy.root)


def test_a_manifest_with_an_unknown_field_is_refused_naming_it(bundle_copy: BundlePaths) -> None:
    alter_manifest(bundle_copy, lambda content: content.update(colour="blue"))
    with pytest.raises(BundleError, match="colour"):
        load_bundle(bundle_copy.root)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format_version", FORMAT_VERSION + 1),
        ("codebook_version", CODEBOOK_VERSION + 1),
        ("outcomes", [str(outcome) for outcome in reversed(OUTCOMES)]),
        ("outcomes", [str(outcome) for outcome in OUTCOMES[:3]]),
        ("languages", ["en", "uk"]),
    ],
)
def test_a_bundle_made_for_another_version_is_refused(bundle_copy: BundlePaths, name: str, value: object) -> None:
    alter_manifest(bundle_copy, lambda content: content.update({name: value}))
    with pytest.raises(BundleError, match=f"the bundle has {name} .* expects"):
        load_bundle(bundle_copy.root)


@pytest.mark.parametrize("digests", [None, [], "abc", {}])
def test_a_manifest_without_digests_lets_no_file_pass(bundle_copy: BundlePaths, digests: object) -> None:
    alter_manifest(bundle_copy, lambda content: content.update(file_digests=digests))
    with pytest.raises(BundleError):
        load_bundle(bundle_copy.root)


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", '{"scaling": null}'])
def test_a_calibration_that_is_none_is_refused_though_its_digest_is_right(
    bundle_copy: BundlePaths, content: str
) -> None:
    manifest = load_bundle(bundle_copy.root).manifest
    rewrite(bundle_copy.calibration, content.encode())
    bundle_copy.manifest.unlink()
    write_manifest(bundle_copy, manifest)
    with pytest.raises(BundleError, match=r"calibration\.json is not a calibration"):
        load_bundle(bundle_copy.root)


def test_a_calibration_that_lacks_a_language_is_refused_naming_it(bundle_copy: BundlePaths) -> None:
    bundle = load_bundle(bundle_copy.root)
    thresholds = {code: value for code, value in bundle.calibration.set_thresholds.items() if code != "uk"}
    rewrite(bundle_copy.calibration, replace(bundle.calibration, set_thresholds=thresholds).to_json().encode())
    bundle_copy.manifest.unlink()
    write_manifest(bundle_copy, bundle.manifest)
    with pytest.raises(BundleError, match=r"calibration\.json .*uk"):
        load_bundle(bundle_copy.root)


def test_writing_the_manifest_returns_the_digest_that_loading_finds(bundle_copy: BundlePaths) -> None:
    manifest = load_bundle(bundle_copy.root).manifest
    rewrite(bundle_copy.card, b"# Model card of another bundle\n")
    bundle_copy.manifest.unlink()
    digest = write_manifest(bundle_copy, manifest)
    found = load_bundle(bundle_copy.root)
    assert found.digest == digest != load_bundle(default_bundle_path()).digest
    assert found.card == "# Model card of another bundle\n"
