"""A scored document as a person reads it: a word, a sign and a colour for each label, so that none is needed alone."""

import json
from dataclasses import asdict
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from credence.labels import DISCLAIMER, LABELS, Outcome, Reason
from credence.scoring import DocumentScore, Rollup, StatementScore
from service.signs import NO_LABEL_SIGN, SIGNS

_STYLES: Final = {
    Outcome.FACTUAL_REPORT: "green",
    Outcome.ALLEGATION: "yellow",
    Outcome.LIKELY_DISINFORMATION_NARRATIVE: "bold red",
}
_NOTHING_FOUND: Final = "No statement was found in the text."


def print_document(console: Console, text: str, document: DocumentScore) -> None:
    """Print the statements as a table, then the roll-up and what a label means."""
    table = Table(header_style="bold", expand=False)
    table.add_column("#", justify="right")
    table.add_column("Label", max_width=22)
    table.add_column("Conf.", justify="right")
    table.add_column("Lang.")
    table.add_column("Statement", ratio=1, overflow="fold")
    for number, score in enumerate(document.statements, start=1):
        statement = Text(text[score.start_char : score.end_char])
        if score.is_cut:
            statement.append(f" [read only up to character {score.read_end_char}]", style="italic")
        table.add_row(str(number), _label(score), _percent(score.confidence), score.language or "other", statement)
    if document.statements:
        console.print(table)
    console.print(Text(_sum_up(document.rollup)))
    console.print(Text(f"{DISCLAIMER} Model {document.model_version}, bundle {document.bundle_digest[:12]}."))


def print_json_lines(text: str, document: DocumentScore) -> None:
    """Print one JSON object for each statement: its text and the fields of its result."""
    for score in document.statements:
        line = {"text": text[score.start_char : score.end_char], **asdict(score)}
        typer.echo(json.dumps(line, ensure_ascii=False))
    if not document.statements:
        typer.echo(_NOTHING_FOUND, err=True)


def _label(score: StatementScore) -> Text:
    if score.label is not None:
        return Text(f"{SIGNS[score.label]} {_words(score.label)}", style=_STYLES[score.label])
    assert score.reason is not None, "a score without a label has a reason"
    return Text(f"{NO_LABEL_SIGN} no label: {_words(score.reason)}", style="dim")


def _sum_up(rollup: Rollup) -> str:
    if not rollup.n_statements:
        return _NOTHING_FOUND
    parts = [
        f"{rollup.label_counts[label]} {_words(label)} ({_percent(rollup.label_shares[label])})" for label in LABELS
    ]
    parts += [f"{count} without label, {_words(reason)}" for reason, count in rollup.reason_counts.items() if count]
    plural = "" if rollup.n_statements == 1 else "s"
    return (
        f"{rollup.n_statements} statement{plural}: {'; '.join(parts)}. "
        f"Mean confidence: {_percent(rollup.mean_confidence)}."
    )


def _words(name: Outcome | Reason) -> str:
    return name.value.replace("_", " ")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
