"""Scores rows in chunks: order is kept, a bad row never stops the rest, and memory does not grow with the file."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from credence.errors import InvalidTextError, UnknownLanguageError
from credence.language import require_language
from credence.normalise import check_text
from credence.scoring import Scorer
from service.rows.files import BadRow, Row, check_row_file, read_rows, row_format
from service.rows.progress import show_progress
from service.rows.text_encoding import UTF8
from service.rows.writers import RowWriter, build_writer, replacing

CHUNK_ROWS: Final = 128


@dataclass(slots=True)
class RowCounts:
    """How many rows there were, how many of them had which kind of fault, and the first of each kind."""

    n_rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    first_errors: dict[str, BadRow] = field(default_factory=dict)

    @property
    def n_errors(self) -> int:
        """Return how many rows could not be scored."""
        return self.errors.total()

    def add(self, rows: Sequence[Row | BadRow]) -> None:
        """Count rows."""
        self.n_rows += len(rows)
        for row in rows:
            if isinstance(row, BadRow):
                self.errors[row.kind] += 1
                self.first_errors.setdefault(row.kind, row)


def score_rows(
    rows: Iterable[Row | BadRow],
    scorer: Scorer,
    writer: RowWriter,
    *,
    max_chars: int,
    report_progress: Callable[[int], None],
) -> RowCounts:
    """Score each row as one statement and write one row for it; after each chunk, say how many rows are done."""
    counts = RowCounts()
    checked = (check_row(row, max_chars) for row in rows)
    for chunk in _chunks(checked):
        _score_chunk(chunk, scorer, writer)
        counts.add(chunk)
        report_progress(counts.n_rows)
    return counts


def score_row_file(
    input_path: Path, output_path: Path, *, load_scorer: Callable[[], Scorer], max_chars: int, encoding: str = UTF8
) -> RowCounts:
    """Score the rows of one file into another, with a progress bar on a terminal.

    The output appears only when all rows went through. Raises ``RowFileError`` and ``OSError``.
    """
    input_format, output_format = row_format(input_path), row_format(output_path)
    n_expected = check_row_file(input_path, input_format, encoding=encoding)
    scorer = load_scorer()
    with (
        input_path.open("rb") as file,
        replacing(output_path) as output,
        show_progress(n_expected or input_path.stat().st_size) as report,
        closing(build_writer(output, output_format)) as writer,
    ):
        return score_rows(
            read_rows(file, input_format, encoding=encoding),
            scorer,
            writer,
            max_chars=max_chars,
            report_progress=lambda n_rows: report(n_rows, n_rows if n_expected else file.tell()),
        )


def check_row(row: Row | BadRow, max_chars: int) -> Row | BadRow:
    """Return the row, or what is to be said of it where it cannot be scored."""
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


def _chunks(rows: Iterator[Row | BadRow]) -> Iterator[list[Row | BadRow]]:
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield chunk


def _score_chunk(chunk: list[Row | BadRow], scorer: Scorer, writer: RowWriter) -> None:
    good = [row for row in chunk if isinstance(row, Row)]
    languages = [row.language for row in good]
    scores = iter(scorer.score_statements([row.text for row in good], languages=languages))
    for row in chunk:
        if isinstance(row, Row):
            writer.write_score(row, next(scores))
        else:
            writer.write_error(row)
