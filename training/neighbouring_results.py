"""What came of the neighbouring tasks: one record for each, kept in a folder, and the table of them all."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from training.metrics import Interval
from training.neighbouring_tasks import TASK_NAMES

_HEAD: Final = """# Neighbouring public tasks

A check that the trainer is good in itself, written by `python -m training.neighbouring`: multilingual-e5-small from
4-bit weights, fine-tuned as the shipped bundle is, but with the labels of others. Nothing was chosen on a test part.
In brackets: 95 % bootstrap intervals, whole documents resampled where the set names them.
"""
_LEARNERS: Final = ("encoder", "tfidf", "majority")


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The figures of a task, by who was asked, and all that is needed to read them; ``seconds`` are the encoder's."""

    task: str
    title: str
    metric: str
    figures: dict[str, Interval]
    published: str
    split: str
    differences: tuple[str, ...]
    train_rows: int
    test_rows: int
    epochs: int
    seconds: float
    date: str


def record_result(result: TaskResult, folder: Path) -> str:
    """Add the result to the folder's ``results.json``, in place of an older one, and return the table of them all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    entries[result.task] = asdict(result)
    path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    table = results_table([_result_of(entries[name]) for name in TASK_NAMES if name in entries])
    (folder / "results.md").write_text(table, encoding="utf-8")
    return table


def results_table(results: Sequence[TaskResult]) -> str:
    """Return the figures as a Markdown table, and what to know of each in another."""
    lines = [
        _HEAD,
        "| task | figure | encoder | TF-IDF + logistic regression | majority | published |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        figures = " | ".join(str(r.figures[name]) for name in _LEARNERS)
        lines.append(f"| {r.title} | {r.metric} | {figures} | {r.published} |")
    lines += ["", "| task | split | differences | learned | tested | epochs | seconds | date |", "|---|" + "---|" * 7]
    for r in results:
        numbers = f"{r.train_rows:,} | {r.test_rows:,} | {r.epochs} | {r.seconds:.0f} | {r.date}"
        lines.append(f"| {r.task} | {r.split} | {'; '.join(r.differences)} | {numbers} |")
    return "\n".join(lines) + "\n"


def _result_of(entry: dict[str, Any]) -> TaskResult:
    figures = {name: Interval(**interval) for name, interval in entry["figures"].items()}
    return TaskResult(**{**entry, "figures": figures, "differences": tuple(entry["differences"])})
