"""How far a file of rows has got, on a terminal: rows done, rate, time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

# Takes how many rows are done, and how much of the total that is.
ProgressReport: TypeAlias = Callable[[int, float], None]


@contextmanager
def show_progress(total: float | None) -> Iterator[ProgressReport]:
    """Show a bar on stderr where that is a terminal. ``total`` is in rows, bytes or whatever is known beforehand."""
    console = Console(stderr=True)
    columns = (
        TextColumn("Scoring"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        _RowsColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, n_rows=0)
        yield lambda n_rows, completed: progress.update(task, completed=completed, n_rows=n_rows)


class _RowsColumn(ProgressColumn):
    """How many rows are done, and how many in a second since the start."""

    def render(self, task: Task) -> Text:
        """Return both figures."""
        n_rows, seconds = task.fields["n_rows"], task.finished_time or task.elapsed or 0.0
        rate = f"{n_rows / seconds:,.0f}" if n_rows and seconds else "-"
        return Text(f"{n_rows:,} rows, {rate} rows/s")
