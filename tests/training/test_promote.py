"""Promotion: a gate that does not hold refuses by name, and only a recorded reason lets it pass."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

import training.metrics
from credence.bundle import DIGEST_TAG, default_bundle_path, load_bundle
from credence.labels import OUTCOMES
from credence.scoring import ModelInfo
from training.corpora import Example
from training.evaluation import Predictions, evaluate_predictions
from training.leave_source_out import LeftOutResult
from training.metrics import Interval
from training.promote import judge, main
from training.results import EvaluationResult, write_result
from training.suites import SuiteResult
from training.targets import LEFT_OUT_SOURCE_TARGET, SUITE_TARGETS, TARGETS
from training.tracking import BUNDLE_ARTIFACT, CHAMPION, REGISTERED_MODEL, register_challenger, tracked_run

N = 240


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 20)


def result(run_id: str = "r1", digest: str = "d1", n_right: int = N) -> EvaluationResult:
    rows = [
        Example(f"s{i}", f"Line {i}.", ("en", "uk", "ru")[i % 3], OUTCOMES[i % 4], 6, 3, "test", f"c{i}", "gold/x")
        for i in range(N)
    ]
    given = [i % 4 if i < n_right else (i + 1) % 4 for i in range(N)]
    # One prediction set of ten misses its outcome, in every language alike.
    sets = tuple((OUTCOMES[(i + (i // 3 % 10 == 0)) % 4],) for i in range(N))
    info = ModelInfo("1.0", digest, "c", 4, run_id, {})
    probabilities = np.eye(4)[given] * 0.996 + 0.001
    suites = [
        SuiteResult(name, "", 10, Interval(t.goal, t.goal, t.goal), t.better, t.must, t.goal, ())
        for name, t in SUITE_TARGETS.items()
    ]
    return evaluate_predictions(
        Predictions("new", probabilities, (True,) * N, sets, info), rows, digests={}, suites=suites
    )


def left_out(drop: float = 0.01) -> LeftOutResult:
    whole = Interval(0.8, 0.7, 0.9)
    return LeftOutResult("new", "2026-01-01", N, 100, whole, whole, Interval(drop, 0.0, 0.1), (("a",), ("b",)), {})


def refusals(test: EvaluationResult, out: LeftOutResult) -> set[str]:
    return {gate.name for gate in judge(test, out) if not gate.holds}


def test_a_model_that_keeps_every_bound_is_refused_by_no_gate() -> None:
    assert refusals(result(), left_out()) == set()
    names = {gate.name for gate in judge(result(), left_out())}
    assert names == {*TARGETS, *SUITE_TARGETS, LEFT_OUT_SOURCE_TARGET.metric}


def test_each_bound_refuses_by_its_own_name() -> None:
    assert refusals(result(), left_out(drop=0.07)) == {"macro_f1_left_out_source_drop"}
    assert {"macro_f1", "accuracy_at_70"} <= refusals(result(n_right=N // 2), left_out())


def test_what_was_not_measured_does_not_hold() -> None:
    without_suites = result().model_copy(update={"suites": ()})
    assert refusals(without_suites, left_out()) == set(SUITE_TARGETS)


class Store:
    """An MLflow store with one run that recorded and registered the shipped bundle."""

    def __init__(self, folder: Path, blank: Path) -> None:
        self.folder = folder
        shutil.copy(blank, folder / "mlflow.db")
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        with tracked_run("new", self.uri, folder / "artifacts", {}) as run:
            run.log_artifacts(default_bundle_path(), BUNDLE_ARTIFACT)
        self.run_id = run.run_id
        register_challenger(run, self.uri)

    def promote(self, test: EvaluationResult, *waivers: str, digests: dict[str, str] | None = None) -> int:
        write_result(test, self.folder / "test.json")
        left = {**asdict(left_out()), "data_digests": digests or {}}
        (self.folder / "left.json").write_text(json.dumps(left), encoding="utf-8")
        files = ["--test", str(self.folder / "test.json"), "--left-out", str(self.folder / "left.json")]
        return main([*files, "--tracking-uri", self.uri, *(part for w in waivers for part in ("--waive", w))])

    def champions(self) -> dict[str, str]:
        aliases = MlflowClient(self.uri).get_registered_model(REGISTERED_MODEL).aliases
        return {name: str(version) for name, version in aliases.items()}


@pytest.fixture
def store(tmp_path: Path, blank_store: Path) -> Store:
    return Store(tmp_path, blank_store)


@pytest.fixture
def digest() -> str:
    return load_bundle(default_bundle_path()).digest


def test_a_model_through_every_gate_becomes_champion(store: Store, digest: str) -> None:
    assert store.promote(result(store.run_id, digest)) == 0
    assert store.champions()[CHAMPION] == "1"
    version = MlflowClient(store.uri).get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
    assert version.tags[DIGEST_TAG] == digest


def test_a_refused_model_is_no_champion_and_the_gate_is_named(
    store: Store, digest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.promote(result(store.run_id, digest, n_right=N // 2)) == 1
    assert "refused by macro_f1" in capsys.readouterr().out
    assert CHAMPION not in store.champions()


def test_a_waived_gate_passes_and_its_reason_stays_with_the_version(store: Store, digest: str) -> None:
    poor = result(store.run_id, digest, n_right=N - 40)
    waivers = [f"{name}=a trial of the door" for name in sorted(refusals(poor, left_out()))]
    assert waivers
    assert store.promote(poor, *waivers) == 0
    version = MlflowClient(store.uri).get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
    assert {t.removeprefix("waived.") for t in version.tags if t.startswith("waived.")} == refusals(poor, left_out())


@pytest.mark.parametrize("waiver", ["no_such_gate=why", "macro_f1=", "macro_f1"])
def test_a_waiver_needs_a_gate_and_a_reason(store: Store, digest: str, waiver: str) -> None:
    assert store.promote(result(store.run_id, digest), waiver) == 2
    assert CHAMPION not in store.champions()


def test_figures_of_another_bundle_promote_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert store.promote(result(store.run_id, "another")) == 2
    assert "measured was another" in capsys.readouterr().err


def test_other_data_than_feedback_must_be_the_same_in_both_results(
    store: Store, digest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.promote(result(store.run_id, digest), digests={"gold/dev.jsonl": "1"}) == 2
    assert "different data (gold/dev.jsonl)" in capsys.readouterr().err
    assert store.promote(result(store.run_id, digest), digests={"feedback/export.jsonl": "1"}) == 0


def test_figures_on_dev_promote_nothing(store: Store, digest: str) -> None:
    assert store.promote(result(store.run_id, digest).model_copy(update={"split": "dev"})) == 2
