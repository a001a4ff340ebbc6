"""What a process begins with: the model that was served last, whatever has become of its source."""

import json
import sys
from pathlib import Path

import pytest

from credence.bundle import default_bundle_path
from credence.errors import BundleError
from service.metrics import Metrics
from service.models.bundle_choice import find_bundle
from service.models.exchange import ModelExchange
from service.models.holder import ModelHolder
from service.models.shadowing import Shadowing
from service.models.shelf import ModelShelf, ShelfError, ShelfState
from service.models.source import FolderSource, SourceError, Target, open_source
from service.models.supply import ModelSupply, open_supply
from service.models.trial import TrialError, try_out_apart
from service.settings import Settings, SettingsError, read_settings
from tests.service.tiny_bundles import ALIAS, Market, load_tiny, make_bundle


@pytest.fixture
def market(tmp_path: Path) -> Market:
    market = Market(tmp_path)
    market.offer("1")
    market.offer("2", "surer")
    market.point_at("1")
    return market


def version_of(path: Path) -> str:
    return load_tiny(path).scorer.info.model_version


def served_folder(market: Market) -> Path:
    served = json.loads((market.shelf_folder / "served.json").read_text(encoding="utf-8"))["served"]
    return market.shelf_folder / str(served["bundle_digest"])


def test_the_first_time_it_is_what_the_alias_names(market: Market) -> None:
    path = market.supply().find_first()
    assert version_of(path) == "1"
    assert market.shelf_folder in path.parents


def test_from_then_on_it_is_what_was_served_last(market: Market) -> None:
    market.supply().find_first()
    market.point_at("2")
    assert version_of(market.supply().find_first()) == "1"


def test_a_source_that_is_away_does_not_keep_a_service_from_starting_again(market: Market) -> None:
    market.supply().find_first()
    market.close_down()
    assert version_of(market.supply().find_first()) == "1"


def test_a_source_that_is_away_at_the_first_start_is_named(market: Market) -> None:
    market.close_down()
    with pytest.raises(SourceError, match="the file champion cannot be read"):
        market.supply().find_first()


def test_nothing_wrong_is_begun_with(market: Market) -> None:
    (market.folder / "1" / "card.md").unlink()
    with pytest.raises(BundleError, match=r"card\.md is missing"):
        market.supply().find_first()
    assert not (market.shelf_folder / "served.json").exists()


def test_what_does_not_pass_its_trial_is_not_begun_with(market: Market) -> None:
    def refuse(path: Path) -> None:
        raise TrialError("no")

    supply = ModelSupply(FolderSource(market.folder, ALIAS), ModelShelf(market.shelf_folder), try_out=refuse)
    with pytest.raises(TrialError):
        supply.find_first()
    assert not (market.shelf_folder / "served.json").exists()


def test_a_damaged_copy_is_fetched_anew(market: Market) -> None:
    market.supply().find_first()
    weights = served_folder(market) / "weights.npz"
    weights.write_bytes(b"damaged")
    assert version_of(market.supply().find_first()) == "1"
    assert weights.read_bytes() == b"no weights"


def test_a_damaged_copy_without_its_source_gives_way_to_the_one_before(market: Market) -> None:
    market.supply().find_first()
    first = served_folder(market)
    market.point_at("2")
    shelf = ModelShelf(market.shelf_folder)
    supply = market.supply()
    kept = supply.fetch(supply.source.find_target())
    state = shelf.read_state(supply.source.name)
    assert state is not None
    shelf.write_state(ShelfState(state.source, kept, state.served, "2"))
    (shelf.path(kept.bundle_digest) / "weights.npz").write_bytes(b"damaged")
    market.close_down()
    assert market.supply().find_first() == first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"source": 1}'])
def test_a_damaged_note_of_what_was_served_is_as_good_as_none(market: Market, content: str) -> None:
    market.supply().find_first()
    (market.shelf_folder / "served.json").write_text(content, encoding="utf-8")
    market.point_at("2")
    assert version_of(market.supply().find_first()) == "2"


def test_another_source_begins_anew(market: Market) -> None:
    market.supply().find_first()
    (market.folder / "other").write_text("2", encoding="utf-8")
    supply = ModelSupply(
        FolderSource(market.folder, "other"), ModelShelf(market.shelf_folder), try_out=lambda path: None
    )
    assert version_of(supply.find_first()) == "2"


def test_only_the_files_of_a_bundle_come_along(market: Market) -> None:
    (market.folder / "1" / "run_me.py").write_text("print()", encoding="utf-8")
    assert not (market.supply().find_first() / "run_me.py").exists()


def test_a_digest_that_the_source_states_must_be_right(market: Market) -> None:
    supply = market.supply()
    stated = Target(id="1", version="1", location="1", bundle_digest="f" * 64)
    with pytest.raises(BundleError, match="the registry says f"):
        supply.fetch(stated)
    assert not [path for path in market.shelf_folder.iterdir() if path.is_dir()]


def test_a_shelf_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ShelfError, match="CREDENCE_STATE_PATH"):
        ModelShelf(tmp_path / "file" / "models")


def test_a_note_of_another_process_is_not_taken_for_ones_own(market: Market) -> None:
    supply = market.supply()
    holder = ModelHolder(load_tiny(supply.find_first()))
    theirs = supply.fetch(Target("2", "2", "2"))
    market.supply().shelf.write_state(ShelfState(supply.source.name, theirs, None, "2"))
    shadowing: Shadowing = Shadowing(None, n_statements=0, score_apart=None)  # type: ignore[arg-type]
    exchange = ModelExchange(supply, holder, shadowing, Settings(), Metrics())
    assert exchange.report().served.model_version == "1"


@pytest.mark.parametrize(
    "source", ["champion", "models:/credence", "models:/a/b@c", "file:@x", "http://a@b", "file:/a@"]
)
def test_a_source_that_is_none_is_refused(source: str) -> None:
    with pytest.raises(SettingsError, match="CREDENCE_MODEL_SOURCE"):
        read_settings(model_source=source)


def test_a_bundle_and_a_source_are_too_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENCE_MODEL_SOURCE", "file:/srv/models@champion")
    assert read_settings().model_source == "file:/srv/models@champion"
    monkeypatch.setenv("CREDENCE_BUNDLE_PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="leave one of them out"):
        read_settings()


def test_an_option_that_names_a_bundle_wins_over_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENCE_MODEL_SOURCE", "file:/srv/models@champion")
    settings = read_settings(bundle_path=tmp_path)
    assert (find_bundle(settings), open_supply(settings)) == (tmp_path, None)


def test_without_a_source_the_bundle_is_the_one_of_the_settings() -> None:
    assert find_bundle(Settings()) is None


def test_a_registry_needs_an_address() -> None:
    with pytest.raises(SourceError, match="CREDENCE_MODEL_TRACKING_URI"):
        open_source("models:/credence@champion", None)


def test_a_registry_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "mlflow.artifacts"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SourceError, match=r"pip install 'credence\[registry\]'"):
        open_source("models:/credence@champion", "http://user:secret@127.0.0.1:9")


def test_a_path_with_an_at_sign_is_a_path() -> None:
    source = open_source("file:/srv/a@b/models@champion", None)
    assert source.name == "file:/srv/a@b/models@champion"


def test_the_shipped_bundle_passes_its_trial() -> None:
    try_out_apart(default_bundle_path())


def test_a_bundle_that_cannot_be_loaded_is_refused_by_a_process_of_its_own(tmp_path: Path) -> None:
    make_bundle(tmp_path, "1")
    with pytest.raises(TrialError, match=r"^it cannot be loaded \(\w+\)$"):
        try_out_apart(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for Python")
def test_a_process_that_breaks_down_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n", encoding="utf-8")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(TrialError, match="broke down with exit code -11"):
        try_out_apart(tmp_path)
