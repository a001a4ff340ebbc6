"""Copies of the shipped bundle with another version and a slightly other calibration."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from credence.bundle import BundlePaths, default_bundle_path, load_bundle, write_manifest


def copy_bundle(folder: Path, version: str, *, factor: float = 1.0) -> str:
    """Write a copy whose logits are scaled by a factor more, and return its digest."""
    shutil.copytree(default_bundle_path(), folder)
    paths = BundlePaths(folder)
    calibration = json.loads(paths.calibration.read_text(encoding="utf-8"))
    calibration["scaling"]["weights"] = [weight * factor for weight in calibration["scaling"]["weights"]]
    paths.calibration.write_text(json.dumps(calibration, indent=1, sort_keys=True), encoding="utf-8")
    return write_manifest(paths, replace(load_bundle(default_bundle_path()).manifest, model_version=version))
