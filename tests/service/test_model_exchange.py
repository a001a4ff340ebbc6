"""A better model takes over, and a wrong one never does: what is decided, step by step and without threads."""

import gc
import json
import math
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from credence.bundle import BundlePaths, load_bundle, write_manifest
from credence.labels import Outcome
from credence.scoring import Scorer
from service.metrics import Metrics
from service.models.candidate import Candidate, CandidateState
from service.models.exchange import ModelExchange, NotExchangedError
from service.models.holder import ModelHolder
from service.models.shadowing import PORTION, Shadowing
from service.scoring.pool import PoolStoppedError
from service.settings import Settings
from service.store.database import Database
from service.store.records import NewScore, Tags
from service.store.score_store import ScoreStore
from tests.service.tiny_bundles import Market, load_tiny

FACT = "The court met on Monday {}."
STORY = "They secretly rule us all {}."


class Desk:
    """A service whose model comes from a market, with a clock that is set by hand."""

    def __init__(self, market: Market, database: Database, **settings: Any) -> None:
        self.market = market
        self.store = ScoreStore(database)
        self.settings = Settings(**settings)
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.n_portions = 0
        self.before_portion: Callable[[], None] = lambda: None
        self.start()

    def start(self) -> None:
        """Start, or start again."""
        supply = self.market.supply()
        self.holder = ModelHolder(load_tiny(supply.find_first()))
        self.metrics = Metrics()
        shadowing = Shadowing(self.store, n_statements=self.settings.shadow_statements, score_apart=self._score_apart)
        self.exchange = ModelExchange(
            supply, self.holder, shadowing, self.settings, self.metrics, now=lambda: self.time
        )

    def _score_apart(self, scorer: Scorer, texts: Any, languages: Any) -> Any:
        self.before_portion()
        self.n_portions += 1
        return scorer.score_statements(texts, languages=languages)

    @property
    def version(self) -> str:
        return self.holder.current.scorer.info.model_version

    @property
    def candidate(self) -> Candidate:
        candidate = self.exchange.report().candidate
        assert candidate is not None
        return candidate

    def move_to(self, version: str) -> None:
        self.market.point_at(version)
        self.exchange.look()

    def keep(self, *texts: str) -> None:
        """Keep statements with the scores of the served model."""
        scorer = self.holder.current.scorer
        new = [
            NewScore(uuid4(), None, Tags(), t, s) for t, s in zip(texts, scorer.score_statements(texts), strict=True)
        ]
        self.store.keep_statements(new, scorer.info, uuid4())


@pytest.fixture
def market(tmp_path: Path) -> Market:
    market = Market(tmp_path)
    market.offer("1")
    market.offer("2", "surer")
    market.point_at("1")
    return market


@pytest.fixture
def desk(market: Market, database: Database) -> Desk:
    return Desk(market, database)


def test_nothing_happens_while_the_alias_stays(desk: Desk) -> None:
    desk.exchange.look()
    report = desk.exchange.report()
    assert (desk.version, report.candidate, report.source_fault) == ("1", None, None)
    assert report.checked_at == desk.time


def test_what_the_alias_names_takes_over(desk: Desk) -> None:
    desk.keep(FACT.format(1), STORY.format(1))
    desk.move_to("2")
    report = desk.exchange.report()
    assert (desk.version, desk.candidate.state) == ("2", CandidateState.EXCHANGED)
    assert (report.served.source_version, report.previous and report.previous.source_version) == ("2", "1")
    assert desk.market.tried[1:] == [desk.holder.current.scorer.info.bundle_digest]
    assert desk.holder.current.card == "# Model 2\n"


def test_metrics_follow_the_model_that_is_served(desk: Desk) -> None:
    desk.move_to("2")
    samples = {s.name: s for family in desk.metrics.registry.collect() for s in family.samples}
    assert samples["credence_model_info"].labels["model_version"] == "2"
    assert desk.metrics.registry.get_sample_value("credence_model_exchanges_total", {"result": "exchanged"}) == 1


def test_the_alias_may_move_many_times(desk: Desk) -> None:
    for version in ("2", "1", "2", "1"):
        desk.move_to(version)
        assert desk.version == version


def test_a_version_with_the_same_bundle_changes_nothing(desk: Desk) -> None:
    shutil.copytree(desk.market.folder / "1", desk.market.folder / "1-again")
    model = desk.holder.current
    desk.move_to("1-again")
    report = desk.exchange.report()
    assert desk.holder.current is model
    assert (report.candidate, report.served.source_version) == (None, "1-again")


def _spoil(name: str, content: bytes | None) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return spoil


def _declare(**fields: Any) -> Callable[[Path], None]:
    def declare(folder: Path) -> None:
        paths = BundlePaths(folder)
        write_manifest(paths, replace(load_bundle(folder).manifest, **fields))

    return declare


def _calibrate(**fields: Any) -> Callable[[Path], None]:
    def calibrate(folder: Path) -> None:
        paths, manifest = BundlePaths(folder), load_bundle(folder).manifest
        calibration = json.loads(paths.calibration.read_text(encoding="utf-8"))
        paths.calibration.write_text(json.dumps({**calibration, **fields}), encoding="utf-8")
        write_manifest(paths, manifest)

    return calibrate


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_spoil("weights.npz", b"other weights"), "weights.npz has SHA-256"),
        (_spoil("weights.npz", None), "weights.npz is missing"),
        (_spoil("manifest.json", None), "manifest.json is missing"),
        (_spoil("manifest.json", b"{"), "not a manifest"),
        (_spoil("manifest.json", b"[1]"), "not a manifest"),
        (_spoil("manifest.json", b"[" * 100_000), "not a manifest"),
        (_declare(outcomes=("true", "false")), "outcomes"),
        (_declare(languages=("en",)), "languages"),
        (_declare(format_version=2), "format_version"),
        (_declare(codebook_version=99), "codebook_version"),
        (_declare(codebook_version=1), "codebook 1"),
        (_declare(model_version="x" * 101), "model_version"),
        (_declare(model_version="2\n"), "model_version"),
        (_declare(mlflow_run_id=7), "mlflow_run_id"),
        (_declare(data_digests={"a": 5}), "does not fit into an answer"),
        (_calibrate(coverage=math.nan), "does not fit into an answer"),
        (_calibrate(set_thresholds={"en": 0.1}), "no set threshold for uk, ru"),
        (shutil.rmtree, "cannot be read"),
    ],
)
def test_a_wrong_bundle_is_refused_and_the_model_goes_on(
    desk: Desk, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(desk.market.folder / "2")
    desk.move_to("2")
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.REFUSED)
    assert reason in str(desk.candidate.reason)
    assert desk.metrics.registry.get_sample_value("credence_model_exchanges_total", {"result": "refused"}) == 1


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("breaks", "does not score"),
        ("constant", "alike"),
        ("endless", "no numbers"),
        ("lavish", "sum to 2.000"),
        ("nameless", "bear its name"),
        ("deaf", "takes a text in uk for en"),
    ],
)
def test_a_model_that_scores_nonsense_is_refused(desk: Desk, way: str, reason: str) -> None:
    desk.market.offer("3", way)
    desk.move_to("3")
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.REFUSED)
    assert reason in str(desk.candidate.reason)


def test_a_refused_bundle_is_tried_again_when_its_time_has_come(desk: Desk) -> None:
    weights = desk.market.folder / "2" / "weights.npz"
    whole = weights.read_bytes()
    weights.write_bytes(b"half of")
    desk.move_to("2")
    weights.write_bytes(whole)
    desk.exchange.look()
    assert desk.candidate.state is CandidateState.REFUSED
    assert desk.candidate.retry_at is not None
    desk.time = desk.candidate.retry_at
    desk.exchange.look()
    assert (desk.version, desk.candidate.state) == ("2", CandidateState.EXCHANGED)


def test_whoever_asks_need_not_wait_for_that_time(desk: Desk) -> None:
    weights = desk.market.folder / "2" / "weights.npz"
    whole = weights.read_bytes()
    weights.write_bytes(b"half of")
    desk.move_to("2")
    weights.write_bytes(whole)
    desk.exchange.look(at_once=True)
    assert desk.version == "2"


def test_a_bundle_that_stays_wrong_is_tried_ever_more_seldom(desk: Desk) -> None:
    (desk.market.folder / "2" / "card.md").unlink()
    desk.market.point_at("2")
    waits = []
    for _ in range(9):
        desk.exchange.look()
        assert desk.candidate.retry_at is not None
        waits.append((desk.candidate.retry_at - desk.time).total_seconds())
        desk.time = desk.candidate.retry_at
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_source_that_is_away_changes_nothing(desk: Desk) -> None:
    desk.market.close_down()
    desk.exchange.look()
    report = desk.exchange.report()
    assert (desk.version, report.candidate) == ("1", None)
    assert "cannot be read" in str(report.source_fault)
    desk.market.open_again()
    desk.move_to("2")
    assert (desk.version, desk.exchange.report().source_fault) == ("2", None)


@pytest.mark.parametrize("name", ["", "..", "../elsewhere", "a b", "1\n2"])
def test_an_alias_that_names_no_folder_changes_nothing(desk: Desk, name: str) -> None:
    desk.move_to(name)
    assert desk.version == "1"
    assert "must hold the name of a folder" in str(desk.exchange.report().source_fault)


def test_a_candidate_that_labels_otherwise_waits(desk: Desk) -> None:
    desk.market.offer("3", "turned")
    desk.keep(*(FACT.format(n) for n in range(10)))
    desk.move_to("3")
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.READY)
    assert "agrees on 0.000" in str(desk.candidate.reason)
    desk.exchange.look()
    assert desk.n_portions == 1
    desk.exchange.promote()
    assert (desk.version, desk.candidate.state) == ("3", CandidateState.EXCHANGED)


def test_without_kept_statements_there_is_nothing_to_disagree_on(desk: Desk) -> None:
    desk.market.offer("3", "turned")
    desk.move_to("3")
    assert desk.version == "3"
    assert desk.candidate.shadow is not None
    assert desk.candidate.shadow.agreement is None


def test_the_differences_are_told(desk: Desk) -> None:
    desk.market.offer("3", "turned")
    desk.keep(FACT.format(1), FACT.format(2), FACT.format(3), STORY.format(1), "Why?", "Did they secretly know this?")
    desk.move_to("3")
    shadow = desk.candidate.shadow
    assert shadow is not None
    fact, claim, story = Outcome.FACTUAL_REPORT, Outcome.ALLEGATION, Outcome.LIKELY_DISINFORMATION_NARRATIVE
    assert (shadow.n_statements, shadow.agreement) == (5, 0)
    assert shadow.changed_shares == {fact: 1, claim: None, story: 1, "none": 1}
    assert shadow.share_shifts == pytest.approx({fact: -0.4, claim: 0.8, story: -0.2, "none": -0.2})
    assert shadow.mean_score_shift == pytest.approx(0.3)


def test_a_surer_model_shifts_scores_and_no_label(desk: Desk) -> None:
    desk.keep(FACT.format(1), STORY.format(1))
    desk.move_to("2")
    shadow = desk.candidate.shadow
    assert shadow is not None
    assert (shadow.agreement, set(shadow.share_shifts.values())) == (1, {0})
    assert shadow.mean_score_shift == pytest.approx(0.075)


def test_only_the_newest_statements_are_compared_and_each_once(market: Market, database: Database) -> None:
    desk = Desk(market, database, shadow_statements=20)
    desk.keep(*(FACT.format(n) for n in range(50)), *[STORY.format(1)] * 10)
    desk.move_to("2")
    assert desk.candidate.shadow is not None
    assert desk.candidate.shadow.n_statements == 11


def test_statements_are_compared_in_portions(desk: Desk) -> None:
    desk.keep(*(FACT.format(n) for n in range(3 * PORTION)))
    desk.move_to("2")
    assert desk.n_portions == 3


def test_what_an_earlier_model_has_scored_is_compared_with_the_served_one(desk: Desk) -> None:
    desk.market.offer("3", "turned")
    desk.keep(FACT.format(1))
    desk.move_to("2")
    desk.keep(FACT.format(2))
    desk.move_to("3")
    assert desk.candidate.shadow is not None
    assert desk.candidate.shadow.compared_with == desk.holder.current.scorer.info.bundle_digest
    assert desk.candidate.shadow.mean_score_shift == pytest.approx(0.375)
    assert desk.candidate.shadow.n_statements == 2


def test_in_manual_mode_everything_waits(market: Market, database: Database) -> None:
    desk = Desk(market, database, model_exchange="manual")
    digest = market.offer("3", "surer", text_prefix="x")
    desk.move_to("3")
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.READY)
    with pytest.raises(NotExchangedError, match="another candidate"):
        desk.exchange.promote("0" * 64)
    desk.exchange.promote(digest)
    assert desk.version == "3"
    with pytest.raises(NotExchangedError, match="no candidate"):
        desk.exchange.promote(digest)


def test_an_alias_that_moves_back_withdraws_the_candidate(market: Market, database: Database) -> None:
    desk = Desk(market, database, model_exchange="manual")
    desk.move_to("2")
    desk.move_to("1")
    assert desk.exchange.report().candidate is None
    with pytest.raises(NotExchangedError, match="no candidate"):
        desk.exchange.promote()


def test_a_refused_candidate_cannot_be_promoted(desk: Desk) -> None:
    desk.market.offer("3", "constant")
    desk.move_to("3")
    with pytest.raises(NotExchangedError, match="no candidate"):
        desk.exchange.promote()


def test_a_rollback_holds_until_the_alias_moves(desk: Desk) -> None:
    desk.move_to("2")
    desk.exchange.roll_back()
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.ROLLED_BACK)
    for _ in range(3):
        desk.exchange.look(at_once=True)
        assert desk.version == "1"
    desk.start()
    desk.exchange.look()
    assert desk.version == "1"
    desk.market.offer("3", "surer", text_prefix="x")
    desk.move_to("3")
    assert desk.version == "3"


def test_a_second_rollback_does_not_go_forward_again(desk: Desk) -> None:
    desk.move_to("2")
    desk.exchange.roll_back()
    with pytest.raises(NotExchangedError, match="no model to go back to"):
        desk.exchange.roll_back()
    assert desk.version == "1"


def test_a_rollback_can_be_taken_back(desk: Desk) -> None:
    desk.move_to("2")
    desk.exchange.roll_back()
    desk.exchange.promote()
    assert desk.version == "2"
    desk.exchange.look()
    assert desk.version == "2"
    desk.exchange.roll_back()
    assert desk.version == "1"


def test_a_rollback_works_after_a_restart_and_without_the_source(desk: Desk) -> None:
    desk.move_to("2")
    desk.market.close_down()
    desk.start()
    assert desk.version == "2"
    desk.exchange.look()
    desk.exchange.roll_back()
    assert desk.version == "1"


def test_a_rollback_to_a_damaged_copy_leaves_the_model_that_works(desk: Desk) -> None:
    first = desk.holder.current.scorer.info.bundle_digest
    desk.move_to("2")
    (desk.market.shelf_folder / first / "weights.npz").write_bytes(b"other")
    with pytest.raises(NotExchangedError, match=r"weights.npz has SHA-256"):
        desk.exchange.roll_back()
    assert desk.version == "2"


def test_a_candidate_under_trial_at_a_rollback_waits_to_be_promoted_by_hand(desk: Desk) -> None:
    desk.market.offer("3", "surer", text_prefix="x")
    desk.move_to("2")
    desk.keep(FACT.format(1))
    desk.before_portion = lambda: desk.exchange.roll_back() if desk.version == "2" else None
    desk.move_to("3")
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.READY)
    assert "rolled back meanwhile" in str(desk.candidate.reason)
    desk.exchange.promote()
    assert desk.version == "3"


def test_an_alias_that_moves_during_a_trial_is_followed(desk: Desk) -> None:
    desk.market.offer("3", "surer", text_prefix="x")
    desk.keep(FACT.format(1))
    desk.before_portion = lambda: desk.market.point_at("3")
    desk.move_to("2")
    assert desk.version == "3"
    previous = desk.exchange.report().previous
    assert previous is not None
    assert previous.model_version == "1"


def test_a_trial_ends_when_the_service_stops(desk: Desk) -> None:
    def stop() -> None:
        desk.exchange.stop()
        raise PoolStoppedError

    desk.keep(FACT.format(1))
    desk.before_portion = stop
    desk.move_to("2")
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.SHADOWING)
    desk.before_portion = lambda: None
    desk.start()
    desk.exchange.look()
    assert desk.version == "2"


def test_a_database_that_is_away_is_no_reason_to_exchange(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "state" / "credence.db"
    path.rename(tmp_path / "elsewhere.db")
    desk.move_to("2")
    assert (desk.version, desk.candidate.state) == ("1", CandidateState.REFUSED)
    (tmp_path / "elsewhere.db").rename(path)
    desk.exchange.look(at_once=True)
    assert desk.version == "2"


def test_a_model_is_gone_once_another_has_taken_over(desk: Desk) -> None:
    first = weakref.ref(desk.holder.current.scorer)
    desk.keep(FACT.format(1))
    desk.move_to("2")
    second = weakref.ref(desk.holder.current.scorer)
    gc.collect()
    assert first() is None
    desk.exchange.roll_back()
    gc.collect()
    assert second() is None


def test_the_disk_does_not_fill_with_old_copies(desk: Desk) -> None:
    for n in range(3, 12):
        desk.market.offer(str(n), "surer", text_prefix=str(n))
        desk.move_to(str(n))
    names = {path.name for path in desk.market.shelf_folder.iterdir() if path.is_dir()}
    assert len(names) == 5
    report = desk.exchange.report()
    assert report.previous is not None
    assert {report.served.bundle_digest, report.previous.bundle_digest} <= names
    assert not list(desk.market.shelf_folder.glob(".staging-*"))


def test_a_state_that_cannot_be_written_down_does_not_stop_the_exchange(desk: Desk) -> None:
    (desk.market.shelf_folder / "served.json").unlink()
    (desk.market.shelf_folder / "served.json").mkdir()
    desk.move_to("2")
    assert desk.version == "2"
    desk.time += timedelta(hours=1)
    desk.exchange.look()
    assert desk.version == "2"
