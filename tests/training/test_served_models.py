"""What training has made champion is what the service serves: with a real registry between the two."""

import shutil
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from credence.bundle import DIGEST_TAG, default_bundle_path, load_bundle
from credence.errors import BundleError
from service.examples import STATEMENTS
from service.metrics import Metrics
from service.models.candidate import CandidateState
from service.models.exchange import ModelExchange
from service.models.holder import ModelHolder
from service.models.shadowing import Shadowing
from service.models.shelf import ModelShelf
from service.models.source import SourceError, load_served_model, open_source
from service.models.supply import ModelSupply
from service.settings import Settings
from service.store.database import open_database
from service.store.records import NewScore, Tags
from service.store.score_store import ScoreStore
from tests.service.bundle_copies import copy_bundle
from tests.service.tiny_bundles import make_bundle
from training.tracking import (
    BUNDLE_ARTIFACT,
    CHAMPION,
    REGISTERED_MODEL,
    make_champion,
    register_challenger,
    tracked_run,
)

SOURCE = f"models:/{REGISTERED_MODEL}@{CHAMPION}"


class Registry:
    """A registry of its own, with what is recorded and registered in it."""

    def __init__(self, folder: Path, blank_store: Path) -> None:
        self.folder = folder
        self.path = folder / "mlflow.db"
        shutil.copy(blank_store, self.path)
        self.uri = f"sqlite:///{self.path}"

    def register(self, bundle: Path) -> str:
        """Record and register a bundle as training does, and return its run."""
        with tracked_run("tiny", self.uri, self.folder / "artifacts", {}) as run:
            run.log_artifacts(bundle, BUNDLE_ARTIFACT)
        register_challenger(run, self.uri)
        return run.run_id

    def promote(self, run_id: str, digest: str) -> None:
        make_champion(run_id, self.uri, {DIGEST_TAG: digest})

    def supply(self) -> ModelSupply:
        shelf = ModelShelf(self.folder / "state" / "models")
        return ModelSupply(open_source(SOURCE, self.uri), shelf, try_out=lambda path: None)


@pytest.fixture
def registry(tmp_path: Path, blank_store: Path) -> Registry:
    return Registry(tmp_path, blank_store)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "made", "0.9.0")
    return tmp_path / "made"


def test_the_champion_is_fetched_whole(registry: Registry, bundle: Path) -> None:
    digest = load_bundle(bundle).digest
    registry.promote(registry.register(bundle), digest)
    supply = registry.supply()
    target = supply.source.find_target()
    assert (target.version, target.bundle_digest) == ("1", digest)
    assert supply.source.list_files(target) == {path.name: path.stat().st_size for path in bundle.iterdir()}
    fetched = supply.find_first()
    assert load_bundle(fetched).digest == digest
    assert {path.name for path in fetched.iterdir()} == {path.name for path in bundle.iterdir()}


def test_a_challenger_is_not_served(registry: Registry, bundle: Path) -> None:
    registry.register(bundle)
    with pytest.raises(SourceError, match="no alias champion of credence"):
        registry.supply().find_first()


def test_an_alias_that_moves_is_another_target(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    first = registry.register(bundle)
    registry.promote(first, load_bundle(bundle).digest)
    source = registry.supply().source
    before = source.find_target()
    make_bundle(tmp_path / "other", "0.9.1")
    registry.promote(registry.register(tmp_path / "other"), load_bundle(tmp_path / "other").digest)
    after = source.find_target()
    assert (before.version, after.version) == ("1", "2")
    assert before.id != after.id
    registry.promote(first, load_bundle(bundle).digest)
    assert source.find_target() == before


def test_a_bundle_that_is_not_the_measured_one_is_refused(registry: Registry, bundle: Path) -> None:
    registry.promote(registry.register(bundle), "f" * 64)
    with pytest.raises(BundleError, match="the registry says f"):
        registry.supply().find_first()


def test_a_file_that_was_lost_is_named(registry: Registry, bundle: Path) -> None:
    registry.promote(registry.register(bundle), load_bundle(bundle).digest)
    next(registry.folder.joinpath("artifacts").rglob("weights.npz")).unlink()
    with pytest.raises(BundleError, match=r"weights\.npz is missing"):
        registry.supply().find_first()


def test_a_registry_that_is_away_is_told_without_its_address(registry: Registry, bundle: Path) -> None:
    registry.promote(registry.register(bundle), load_bundle(bundle).digest)
    supply = registry.supply()
    path = supply.find_first()
    registry.path.write_bytes(b"this is no database")
    with pytest.raises(SourceError, match="gives no answer that can be used") as caught:
        supply.source.find_target()
    assert str(registry.folder) not in str(caught.value)
    assert registry.supply().find_first() == path


def test_the_shipped_model_gives_way_to_the_champion_and_comes_back_to_the_bit(
    registry: Registry, tmp_path: Path
) -> None:
    digest = copy_bundle(tmp_path / "next", "0.9.0", factor=0.9)
    shipped = default_bundle_path()
    registry.promote(registry.register(shipped), load_bundle(shipped).digest)
    supply = ModelSupply(open_source(SOURCE, registry.uri), ModelShelf(tmp_path / "state" / "models"))
    holder = ModelHolder(load_served_model(supply.find_first()))
    texts = list(STATEMENTS.values())
    before = holder.current.scorer.score_statements(texts)
    with closing(open_database(f"sqlite:///{tmp_path / 'credence.db'}")) as database:
        store = ScoreStore(database)
        new = [NewScore(uuid4(), None, Tags(), text, score) for text, score in zip(texts, before, strict=True)]
        store.keep_statements(new, holder.current.scorer.info, uuid4())
        shadowing = Shadowing(
            store, n_statements=10, score_apart=lambda s, t, languages: s.score_statements(t, languages=languages)
        )
        exchange = ModelExchange(supply, holder, shadowing, Settings(), Metrics())
        registry.promote(registry.register(tmp_path / "next"), digest)
        exchange.look()
    candidate = exchange.report().candidate
    assert candidate is not None
    assert (candidate.state, candidate.reason) == (CandidateState.EXCHANGED, None)
    assert candidate.shadow is not None
    assert (candidate.shadow.n_statements, candidate.shadow.agreement) == (3, 1)
    assert 0 < (candidate.shadow.mean_score_shift or 0) < 0.05
    after = holder.current.scorer.score_statements(texts)
    assert {(score.model_version, score.bundle_digest) for score in after} == {("0.9.0", digest)}
    assert [score.scores for score in after] != [score.scores for score in before]
    exchange.roll_back()
    assert holder.current.scorer.score_statements(texts) == before
