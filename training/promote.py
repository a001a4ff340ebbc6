"""Makes a run's bundle the champion, if it passes every gate of ``training.targets`` and beats the present champion.

Manual
------
``python -m training.promote --test runs/NAME/report/test.json --left-out runs/NAME/report/leave_source_out.json`` reads
what ``training.evaluate`` and ``training.leave_source_out`` measured, prints each gate with the figure, the bound and
whether it holds, and moves the alias ``champion`` to the version that the run registered only if all hold. The
registered bundle must be the one that was measured. ``--waive GATE=REASON`` lets one refusal pass; the reason is kept
on the model version as a tag, so that nobody takes the champion for better than it is.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from credence import load_scorer
from credence.bundle import DIGEST_TAG, load_bundle
from credence.errors import BundleError
from training.corpora import ORIGINS, load_corpus, require_data_pack
from training.evaluation import clusters_of, gold_columns, predict_with_scorer
from training.leave_source_out import LeftOutResult
from training.metrics import Interval, macro_f1, paired_difference
from training.report import markdown_table
from training.results import EvaluationResult, ResultError, read_result
from training.sources import FEEDBACK_ORIGIN, CorpusError
from training.splits import LeakError
from training.targets import LEFT_OUT_SOURCE_TARGET, SUITE_TARGETS, TARGETS, Target
from training.tracking import champion_bundle, make_champion, run_bundle

BEATS_CHAMPION: Final = "beats_champion"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: what was found (null: not measured), what it must be, and whether it holds."""

    name: str
    found: Interval | None
    bound: str
    holds: bool


def judge(test: EvaluationResult, left_out: LeftOutResult) -> list[Gate]:
    """Return the gates of the targets, each by its point estimate; what was not measured does not hold."""
    rates = {suite.name: suite.rate for suite in test.suites}
    return [
        *(_gate(target, test.metrics.get(name)) for name, target in TARGETS.items()),
        _gate(LEFT_OUT_SOURCE_TARGET, left_out.macro_f1_left_out_source_drop),
        *(_gate(target, rates.get(name)) for name, target in SUITE_TARGETS.items()),
    ]


def _gate(target: Target, found: Interval | None) -> Gate:
    sign = "at least" if target.better == "higher" else "at most"
    return Gate(target.metric, found, f"{sign} {target.must:g}", found is not None and target.is_met(found.value))


def judge_against_champion(challenger: Path, tracking_uri: str) -> Gate:
    """Compare two bundles on the same development statements; there may be no champion yet."""
    bound = "above 0 on dev"
    with champion_bundle(tracking_uri) as champion:
        if champion is None:
            return Gate(BEATS_CHAMPION, None, "no champion yet", holds=True)
        dev = load_corpus(ORIGINS, require_data_pack()).held_back("dev")
        ours, theirs = (
            predict_with_scorer(path.name, load_scorer(path), dev).probabilities for path in (challenger, champion)
        )
        difference = paired_difference(macro_f1, ours, theirs, gold_columns(dev), clusters_of(dev))
        return Gate(BEATS_CHAMPION, difference, bound, holds=difference.value > 0)


def _table(gates: Sequence[Gate], waived: dict[str, str]) -> str:
    rows = [
        [g.name, str(g.found) if g.found else "-", g.bound, "holds" if g.holds else _refusal(g, waived)] for g in gates
    ]
    return markdown_table(["gate", "found", "must be", "verdict"], rows)


def _refusal(gate: Gate, waived: dict[str, str]) -> str:
    return f"waived: {waived[gate.name]}" if gate.name in waived else "REFUSED"


def read_left_out(path: Path) -> LeftOutResult:
    """Read what ``training.leave_source_out`` wrote; raises ``ResultError``."""
    try:
        return TypeAdapter(LeftOutResult).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ResultError(f"{path} is missing; python -m training.leave_source_out writes it") from error
    except ValidationError as error:
        raise ResultError(
            f"{path} is not a result of training.leave_source_out: {error.error_count()} faults"
        ) from error


def _parse_waivers(waivers: Sequence[str]) -> dict[str, str]:
    parsed = dict(waiver.partition("=")[::2] for waiver in waivers)
    known = {BEATS_CHAMPION, LEFT_OUT_SOURCE_TARGET.metric, *TARGETS, *SUITE_TARGETS}
    for gate, reason in parsed.items():
        if gate not in known:
            raise ResultError(f"--waive {gate}: no such gate; there are {', '.join(sorted(known))}")
        if not reason.strip():
            raise ResultError(f"--waive {gate}: give a reason, as in --waive {gate}='too few statements to tell'")
    return parsed


def _promote(test: EvaluationResult, left_out: LeftOutResult, waived: dict[str, str], uri: str) -> int:
    if test.mlflow_run_id is None or test.split != "test":
        raise ResultError(f"{test.name} on {test.split} is no tracked bundle measured on test")
    differing = _measured_with(left_out.data_digests).items() ^ _measured_with(test.data_digests).items()
    if differing:
        names = ", ".join(sorted({name for name, _ in differing}))
        raise ResultError(f"the two results were measured with different data ({names}); measure both anew")
    with run_bundle(test.mlflow_run_id, uri) as bundle:
        digest = load_bundle(bundle).digest
        if digest != test.bundle_digest:
            raise ResultError(f"run {test.mlflow_run_id} holds bundle {digest}; measured was {test.bundle_digest}")
        gates = [*judge(test, left_out), judge_against_champion(bundle, uri)]
    print(_table(gates, waived))
    print(f"sources were left out of recipe {left_out.recipe}, with {left_out.learned} statements to learn from")
    refused = [gate.name for gate in gates if not gate.holds and gate.name not in waived]
    if refused:
        print(f"refused by {', '.join(refused)}; the champion stays")
        return 1
    tags: dict[str, str] = {f"waived.{name}": reason for name, reason in waived.items()}
    tags[DIGEST_TAG] = digest
    tags["gates"] = json.dumps({gate.name: gate.holds for gate in gates})
    print(f"version {make_champion(test.mlflow_run_id, uri, tags)} of credence is now champion")
    return 0


def _measured_with(digests: dict[str, str]) -> dict[str, str]:
    """Return the digests without those of feedback, which is learned and never measured on."""
    return {name: digest for name, digest in digests.items() if not name.startswith(FEEDBACK_ORIGIN)}


def main(arguments: list[str] | None = None) -> int:
    """Promote through the gates; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.promote", description="Move the champion, or say why not")
    parser.add_argument("--test", type=Path, required=True, help="result of training.evaluate on test")
    parser.add_argument("--left-out", type=Path, required=True, help="result of training.leave_source_out")
    parser.add_argument("--waive", action="append", default=[], metavar="GATE=REASON", help="let one refusal pass")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs and of the MLflow store")
    parser.add_argument("--tracking-uri", help="an MLflow server or store in place of the local one")
    options = parser.parse_args(arguments)
    uri = options.tracking_uri or f"sqlite:///{options.runs / 'mlflow.db'}"
    try:
        waived = _parse_waivers(options.waive)
        return _promote(read_result(options.test), read_left_out(options.left_out), waived, uri)
    except (ResultError, CorpusError, LeakError, LookupError, BundleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
