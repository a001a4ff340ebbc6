"""Scores rows in chunks: order is kept, a bad row never stops the rest, and memory does not grow with the file."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from credence.errors import InvalidTextError, UnknownLanguageError
from credence.language import require_language
from credence.normalise import check_text
from credence.scoring import Scorer
from service.row_files import BadRow, Row, read_rows, row_format
from service.row_writers import RowWriter, build_writer, replacing

CHUNK_ROWS: Final = 128


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows there were, and how many of them could not be scored."""

    n_rows: int
    n_errors: int


def score_rows(
    rows: Iterable[Row | BadRow],
    scorer: Scorer,
    writer: RowWriter,
    *,
    max_chars: int,
    report_progress: Callable[[], None],
) -> RowCounts:
    """Score each row as one statement and write one row for it; progress is reported after each chunk."""
    n_rows = n_errors = 0
    checked = (_check(row, max_chars) for row in rows)
    for chunk in _chunks(checked):
        _score_chunk(chunk, scorer, writer)
        n_rows += len(chunk)
        n_errors += sum(isinstance(row, BadRow) for row in chunk)
        report_progress()
    return RowCounts(n_rows, n_errors)


def score_row_file(
    input_path: Path, output_path: Path, *, load_scorer: Callable[[], Scorer], max_chars: int
) -> RowCounts:
    """Score the rows of one file into another, with a progress bar on a terminal.

    The output appears only when all rows went through. Raises ``RowFileError`` and ``OSError``.
    """
    input_format, output_format = row_format(input_path), row_format(output_path)
    console = Console(stderr=True)
    with input_path.open("rb") as file, Progress(console=console, disable=not console.is_terminal) as progress:
        rows = read_rows(file, input_format)
        scorer = load_scorer()
        task = progress.add_task("Scoring", total=input_path.stat().st_size)
        with replacing(output_path) as output:
            return score_rows(
                rows,
                scorer,
                build_writer(output, output_format),
                max_chars=max_chars,
                report_progress=lambda: progress.update(task, completed=file.tell()),
            )


def _chunks(rows: Iterator[Row | BadRow]) -> Iterator[list[Row | BadRow]]:
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield chunk


def _check(row: Row | BadRow, max_chars: int) -> Row | BadRow:
    if isinstance(row, BadRow):
        return row
    try:
        check_text(row.text, max_chars=max_chars)
        if row.language is not None:
            require_language(row.language)
    except InvalidTextError as error:
        return BadRow(row.line, row.id, error.kind, error.message)
    except UnknownLanguageError as error:
        return BadRow(row.line, row.id, "unknown_language", str(error))
    return row


def _score_chunk(chunk: list[Row | BadRow], scorer: Scorer, writer: RowWriter) -> None:
    good = [row for row in chunk if isinstance(row, Row)]
    languages = [row.language for row in good]
    scores = iter(scorer.score_statements([row.text for row in good], languages=languages))
    for row in chunk:
        if isinstance(row, Row):
            writer.write_score(row, next(scores))
        else:
            writer.write_error(row)
