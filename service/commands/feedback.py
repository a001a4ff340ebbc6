"""``credence feedback``: writes what reviewers said of scores as rows to train from."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from service.commands.arguments import check_output_path, parse_time
from service.commands.plain import PlainCommand, PlainGroup

ExportArgument = Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="Where the rows go.")]
SinceOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only scores with feedback from this time on (ISO 8601; UTC where no zone)."),
]
DisputesOption = Annotated[
    bool, typer.Option("--disputes-only", metavar="", help="Only scores that somebody would give another label.")
]
ReviewersOption = Annotated[int, typer.Option(min=1, metavar="N", help="Leave out scores with fewer reviewers.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace the file if it exists.")]


class FeedbackCommand:
    """The command. Errors that a user can mend are raised in ``expected_errors``, which says them."""

    def __init__(self, expected_errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._expected_errors = expected_errors

    def export(
        self,
        output_path: ExportArgument,
        since: SinceOption = None,
        disputes_only: DisputesOption = False,
        min_reviewers: ReviewersOption = 1,
        overwrite: OverwriteOption = False,
    ) -> None:
        """Write what reviewers propose as rows to train from: one JSON object for each scored statement with feedback.

        It reads the database of CREDENCE_DATABASE_URL or CREDENCE_STATE_PATH. The label is what most reviewers propose;
        of each the latest word counts, and everybody without a name together counts as one. Where two labels have
        equally many, or only somebody without a name proposes the label, it is null and no_label_reason says tie or
        anonymous. All feedback of a score counts, whatever --since and --disputes-only choose scores by. The rows hold
        the texts as they were sent, and no names of reviewers. data.feedback_path of a training recipe takes the file.

        Exit code: 0 if the file was written, 2 if not; then an older file is as it was.
        """
        # Nothing heavy is imported at the top: ``credence --help`` must be quick.
        from service.feedback.export import ExportChoice, export_feedback
        from service.settings import read_settings
        from service.store.database import Database

        with self._expected_errors():
            check_output_path(output_path, may_overwrite=overwrite)
            chosen = ExportChoice(parse_time(since, "--since"), disputes_only, min_reviewers)
            database = Database(read_settings().resolved_database_url)
            try:
                database.require_schema()
                counts = export_feedback(database, output_path, chosen)
            finally:
                database.close()
        typer.echo(f"{counts}, into {output_path}", err=True)


def build_feedback_group(expected_errors: Callable[[], AbstractContextManager[None]]) -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(cls=PlainGroup, help="What reviewers said of scores.", no_args_is_help=True)
    group.command("export", cls=PlainCommand)(FeedbackCommand(expected_errors).export)
    return group
