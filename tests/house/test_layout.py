import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from training.config import ExperimentConfig

ROOT = Path(__file__).parents[2]
ROOMS = ("credence", "training", "service")
CELLARS = ("datasets", "experiments")
NOT_OURS = {"runs", "build", "dist", "mlruns", "__pycache__", ".git"}
# Such a path is right on one machine only.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])(?:/(?:home|root|Users|work|mnt)/|[A-Z]:\\Users\\)\w")

RECIPES = sorted((ROOT / "experiments").glob("*/*.toml"))


def is_ours(path: Path) -> bool:
    """Tell whether git would keep a folder of the root: caches, environments and results are not ours."""
    is_cache = path.is_dir() and path.name.startswith(".") and path.name != ".ci"
    return path.name not in NOT_OURS and not is_cache and path.suffix != ".egg-info"


def texts_of_the_tree() -> Iterator[tuple[Path, str]]:
    for top in filter(is_ours, ROOT.iterdir()):
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and path.suffix not in {".npz", ".pyc"}:
                yield path, path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("cellar", CELLARS)
def test_a_cellar_holds_nothing_importable(cellar: str) -> None:
    assert not [path for path in (ROOT / cellar).rglob("*") if path.suffix in {".py", ".pyi", ".so", ".ipynb"}]


def test_the_packages_are_the_folders() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == {
        ".".join(folder.relative_to(ROOT).parts) for folder in folders
    }
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_no_module_is_named_like_an_installed_package() -> None:
    taken = {name for name, owners in packages_distributions().items() if set(owners) != {"credence"}}
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.stem != "__init__"]
    assert not {path for path in modules if path.stem in taken | sys.stdlib_module_names}
    assert not taken & set(ROOMS)


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "common", "helpers", "misc", "manager"}
    assert not {path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py") if path.stem in empty}


def test_no_file_names_a_path_of_one_machine() -> None:
    found = {
        str(path.relative_to(ROOT)): hit[0] for path, text in texts_of_the_tree() if (hit := MACHINE_PATH.search(text))
    }
    assert not found


@pytest.mark.parametrize("path", ["/home/", "/work/", "/root/", "/Users/", "C:\\Users\\"])
def test_the_search_for_machine_paths_finds_them(path: str) -> None:
    assert MACHINE_PATH.search(f"see '{path}me/file'")
    assert not MACHINE_PATH.search(f"https://example.org{path}me")


def test_there_are_recipes() -> None:
    assert {"tiny", "first"} <= {path.parent.name for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_a_recipe_is_valid_and_named_like_its_folder(path: Path) -> None:
    config = ExperimentConfig.from_toml(path)
    assert path.name == "config.toml"
    assert config.name == path.parent.name


def test_every_recipe_is_described() -> None:
    described = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert [path.parent.name for path in RECIPES if f"`{path.parent.name}`" not in described] == []


def test_the_shipped_bundle_is_small_enough_to_ship() -> None:
    files = [path for path in (ROOT / "credence" / "bundles" / "default").iterdir() if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) <= 50 * 1024 * 1024
