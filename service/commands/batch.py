"""``credence batch``: scores a file of rows into another, on this machine or by a service."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands.arguments import CommandError, check_row_paths, scored_path

# Nothing heavy is imported at the top: ``credence --help`` must be quick.
if TYPE_CHECKING:
    from service.cli import ModelLoader
    from service.rows.scoring import RowCounts

_EXIT_BAD_ROWS: Final = 1

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Rows to score: a .csv, .jsonl, .ndjson or .parquet file.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", help="Where the scored rows go, in any of these formats.", show_default="FILE.scored.EXT"),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace the output if it exists.")]
EncodingOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of CSV and JSON lines, such as windows-1251.", show_default="utf-8"),
]
BundleOption = Annotated[Path | None, typer.Option(help="The folder of a bundle; without it, the shipped one.")]
ServerOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Have a service score, such as http://127.0.0.1:8000.")
]
NoStoreOption = Annotated[
    bool, typer.Option("--no-store", metavar="", help="The service keeps neither texts nor scores.")
]


class BatchCommand:
    """The command. Errors that a user can mend are raised in ``expected_errors``, which says them."""

    def __init__(self, load_model: "ModelLoader", expected_errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._load_model = load_model
        self._expected_errors = expected_errors

    def score_batch(
        self,
        input_path: FileArgument,
        output_path: OutputOption = None,
        overwrite: OverwriteOption = False,
        encoding: EncodingOption = None,
        bundle: BundleOption = None,
        server: ServerOption = None,
        no_store: NoStoreOption = False,
    ) -> None:
        """Score a file of rows, one statement a row, with a progress bar: on this machine, or with --server there.

        FILE has the columns (keys) id and text, and may have language, source, author and document_id; others are
        passed over. CSV may have commas, semicolons or tabs. The output gets, in the same order, id and the fields of
        the result, as credence score --help lists them. Without --output, rows.csv is scored into rows.scored.csv.

        A row that cannot be scored gets error_kind, error_message and line, and the rest goes on. In CSV an id that
        begins with = + - @, tab or CR has an apostrophe in front, so that no spreadsheet takes it for a formula; an
        apostrophe before such a sign is taken off again when CSV is read. JSON lines and Parquet keep it as it is.

        A service that is away for some minutes is waited for, and never scores the file twice. Ctrl-C asks it to cancel
        the batch. CREDENCE_API_KEY is the API key, where the service needs one.

        Exit code: 0 if all was scored (also where there are no rows), 1 if at least one row was not scored, 2 if the
        command could not run; then nothing is written.
        """
        with self._expected_errors():
            if server is None:
                if no_store:
                    raise CommandError("--no-store goes with --server: on this machine nothing is kept")
                score_file_here(
                    input_path,
                    output_path or scored_path(input_path),
                    load_model=self._load_model,
                    may_overwrite=overwrite,
                    bundle=bundle,
                    encoding=encoding,
                )
                return
            if bundle is not None:
                raise CommandError("--bundle does not go with --server: the service has its own")
            self._score_there(
                server, input_path, output_path, may_overwrite=overwrite, encoding=encoding, no_store=no_store
            )

    def _score_there(
        self,
        server: str,
        input_path: Path,
        output_path: Path | None,
        *,
        may_overwrite: bool,
        encoding: str | None,
        no_store: bool,
    ) -> None:
        from service.batches.client import BatchClient
        from service.batches.remote import score_file_there
        from service.settings import read_settings

        api_key = read_settings().api_key
        score_file_there(
            BatchClient(server, api_key=None if api_key is None else api_key.get_secret_value()),
            input_path,
            output_path or scored_path(input_path),
            may_overwrite=may_overwrite,
            encoding=encoding,
            store=False if no_store else None,
        )


def score_file_here(
    input_path: Path,
    output_path: Path,
    *,
    load_model: "ModelLoader",
    may_overwrite: bool,
    bundle: Path | None,
    encoding: str | None = None,
) -> None:
    """Score a file on this machine, and say on stderr what came of it; exits with 1 where rows were not scored.

    Raises ``CommandError``, ``RowFileError``, ``BundleError`` and ``OSError``; then there is no output.
    """
    from service.models.bundle_choice import find_bundle
    from service.rows.scoring import score_row_file
    from service.rows.text_encoding import UTF8
    from service.settings import read_settings

    check_row_paths(input_path, output_path, may_overwrite=may_overwrite)
    settings = read_settings(bundle_path=bundle)
    counts = score_row_file(
        input_path,
        output_path,
        load_scorer=lambda: load_model(find_bundle(settings)).scorer,
        max_chars=settings.max_statement_chars,
        encoding=encoding or UTF8,
    )
    print_counts(counts, output_path)
    if counts.n_errors:
        raise typer.Exit(_EXIT_BAD_ROWS)


def print_counts(counts: "RowCounts", output_path: Path) -> None:
    """Say on stderr how many rows there were, and what was wrong with those that were not scored; none is quoted."""
    from credence.labels import DISCLAIMER

    typer.echo(f"{counts.n_rows} rows read, {counts.n_errors} of them with errors, into {output_path}", err=True)
    for kind, number in counts.errors.most_common():
        first = counts.first_errors[kind]
        typer.echo(f"  {number} {kind}, first in line {first.line}: {first.message}", err=True)
    typer.echo(DISCLAIMER, err=True)
