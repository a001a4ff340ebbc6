"""Writes ``experiments/LEADERBOARD.md`` from the results that stand beside each recipe; never written by hand.

Manual
------
``python -m training.train --config experiments/NAME/config.toml`` and then
``python -m training.evaluate --split dev --bundle runs/NAME/bundle --output runs/NAME/report`` measure one recipe.
``python -m training.leaderboard --take runs/NAME/report`` copies each result in that folder, of the bundle as of those
that were measured beside it, to ``experiments/RECIPE/results``, where it is committed, and writes the page anew. The
recipe is the one of the result's name or, for a bundle, of its model version. Without ``--take`` it only writes the
page; ``--check`` writes nothing and fails where the page is not what the results say.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

from training.config import ConfigError, ExperimentConfig
from training.report import markdown_table
from training.results import EvaluationResult, ResultError, read_result, write_result
from training.targets import TARGETS

EXPERIMENTS_DIR: Final = Path(__file__).parent.parent / "experiments"
PAGE: Final = "LEADERBOARD.md"
_SPLITS: Final = ("test", "dev")
_COLUMNS: Final[dict[str, str]] = {
    "macro_f1": "macro-F1",
    "macro_f1_weakest_language": "weakest language",
    "f1_likely_disinformation_narrative": "F1 disinformation",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "ece": "ECE",
    "accuracy_at_70": "accuracy at 70 %",
}


def read_results(experiments: Path) -> dict[str, list[tuple[str, EvaluationResult]]]:
    """Return (recipe, result) by split, the best macro-F1 first; raises ``ResultError``."""
    found: defaultdict[str, list[tuple[str, EvaluationResult]]] = defaultdict(list)
    for split in _SPLITS:
        for path in sorted(experiments.glob(f"*/results/{split}.json")):
            found[split].append((path.parent.parent.name, read_result(path)))
        found[split].sort(key=lambda row: -row[1].metrics["macro_f1"].value)
    return dict(found)


def write_page(results: dict[str, list[tuple[str, EvaluationResult]]]) -> str:
    """Return the page in Markdown: a table a set of measured statements."""
    parts = [
        "# Leaderboard",
        "Written by `python -m training.leaderboard` from `experiments/*/results`; never by hand. Each figure stands"
        " with its 95 %\nbootstrap interval over clusters. Each row is made again by\n"
        "`python -m training.train --config experiments/NAME/config.toml`, and measured by\n"
        "`python -m training.evaluate`, both with `CREDENCE_DATA` naming the data pack. A run of today\n"
        "learns from the statements of today, an older row from those of its date. The calibration of a bundle is\n"
        "fitted on dev, where its log loss and ECE flatter.",
    ]
    for split, rows in results.items():
        by_statements: defaultdict[str, list[tuple[str, EvaluationResult]]] = defaultdict(list)
        for name, result in rows:
            by_statements[result.statements_digest].append((name, result))
        for group in by_statements.values():
            parts.extend(_section(split, group))
    return "\n\n".join(parts) + "\n"


def _section(split: str, group: list[tuple[str, EvaluationResult]]) -> list[str]:
    first = group[0][1]
    must = ["**must**", "", *(f"{TARGETS[m].must:g}" if m in TARGETS else "" for m in _COLUMNS)]
    rows = [
        [f"[{name}]({name}/config.toml)", result.date, *(_cell(result, metric) for metric in _COLUMNS)]
        for name, result in group
    ]
    return [
        f"## {split.capitalize()}: {first.statements} statements of {first.origin}",
        f"Statements and labels: digest `{first.statements_digest[:12]}`.",
        markdown_table(["recipe", "measured", *_COLUMNS.values()], [*rows, must]),
    ]


def _cell(result: EvaluationResult, metric: str) -> str:
    return str(result.metrics[metric]) if metric in result.metrics else ""


def take_results(report: Path, experiments: Path) -> list[str]:
    """Copy the results in a folder whose recipes stand in ``experiments``; return what was taken."""
    recipes: dict[str, str] = {}
    for path in sorted(experiments.glob("*/config.toml")):
        config = ExperimentConfig.from_toml(path)
        known = config.bundle.model_version if config.model == "encoder" else config.name
        recipes[known] = path.parent.name
    taken: list[str] = []
    for split in _SPLITS:
        for path in sorted(report.glob(f"{split}*.json")):
            result = read_result(path)
            recipe = recipes.get(result.model_version or result.name)
            if recipe is not None:
                write_result(result, experiments / recipe / "results" / f"{split}.json")
                taken.append(f"{recipe} ({split})")
    return taken


def main(arguments: list[str] | None = None) -> int:
    """Write the leaderboard; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.leaderboard", description="Write the leaderboard.")
    parser.add_argument("--take", type=Path, help="folder of a report whose results are copied first")
    parser.add_argument("--check", action="store_true", help="fail where the page is not what the results say")
    parser.add_argument("--experiments", type=Path, default=EXPERIMENTS_DIR, help="folder of the recipes")
    options = parser.parse_args(arguments)
    page = options.experiments / PAGE
    try:
        if options.take is not None:
            taken = take_results(options.take, options.experiments)
            print(f"took {', '.join(taken) or 'nothing'}")
        text = write_page(read_results(options.experiments))
    except (ConfigError, ResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.check:
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            print(f"error: {page} is not what the results say; run python -m training.leaderboard", file=sys.stderr)
            return 1
        return 0
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
