"""One experiment, one file: what it may hold, what overrides it, and how a fault is named."""

from pathlib import Path

import pytest

from training.config import ConfigError, ExperimentConfig

RECIPES = sorted((Path(__file__).parents[2] / "experiments").glob("*/config.toml"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('name = "mine"\n[optimiser]\nepochs = 3\n', encoding="utf-8")
    return path


def test_what_a_file_leaves_out_takes_its_default(recipe: Path) -> None:
    config = ExperimentConfig.from_toml(recipe)
    assert config.optimiser.epochs == 3
    assert config.model_copy(update={"optimiser": ExperimentConfig(name="mine").optimiser}) == ExperimentConfig(
        name="mine"
    )


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_every_recipe_of_the_project_is_valid_and_named_as_its_folder(path: Path) -> None:
    assert ExperimentConfig.from_toml(path).name == path.parent.name


def test_the_project_has_recipes() -> None:
    assert RECIPES


def test_overrides_win_over_the_file_and_keep_their_type(recipe: Path) -> None:
    overrides = [
        "optimiser.epochs=1",
        "optimiser.learning_rate=2e-5",
        "encoder.name=some/hub-name",
        "encoder.trim=false",
    ]
    config = ExperimentConfig.from_toml(recipe, [*overrides, 'data.origins=["gold"]', "name=other"])
    assert (config.optimiser.epochs, config.optimiser.learning_rate) == (1, 2e-5)
    assert (config.encoder.name, config.encoder.trim) == ("some/hub-name", False)
    assert (config.data.origins, config.name) == (("gold",), "other")


def test_annotations_without_gold_are_refused(recipe: Path) -> None:
    with pytest.raises(ConfigError, match="annotations are learned beside gold"):
        ExperimentConfig.from_toml(recipe, ['data.origins=["annotations", "statements"]'])


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("optimiser.epochs=0", "optimiser.epochs"),
        ("optimiser.epoch=1", "with --set optimiser.epoch=1: optimiser.epoch: no such field"),
        ("optimizer.epochs=1", "optimizer"),
        ("model=gpt", "model"),
        ("name=Not A Name", "name"),
        ("data.origins=[\"web\"]", "data.origins"),
        ("optimiser.epochs", "key=value"),
        ("name.first=x", "name is not a section"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_field(recipe: Path, override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ExperimentConfig.from_toml(recipe, [override])


def test_a_missing_file_and_broken_toml_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config at"):
        ExperimentConfig.from_toml(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not TOML"):
        ExperimentConfig.from_toml(broken)
    broken.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="is not TOML"):
        ExperimentConfig.from_toml(broken)


def test_a_config_cannot_be_changed_afterwards(recipe: Path) -> None:
    config = ExperimentConfig.from_toml(recipe)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1


def test_a_config_survives_json(recipe: Path) -> None:
    config = ExperimentConfig.from_toml(recipe, ["seed=7"])
    assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["optimiser.average_start=0.3"], "nothing to average with"),
        (["encoder.start_from=runs/x/bundle", "model=tfidf"], "a tfidf starts from no bundle"),
    ],
)
def test_settings_of_a_start_need_one_that_can_be_used(recipe: Path, overrides: list[str], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        ExperimentConfig.from_toml(recipe, overrides)
