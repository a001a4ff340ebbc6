"""The ``credence`` command: score a text, a document or a file of rows; serve the API."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from credence.errors import CredenceError
from service.commands.arguments import CommandError, read_text
from service.commands.batch import BatchCommand, score_file_here
from service.commands.feedback import build_feedback_group
from service.commands.inspection import add_inspection_commands
from service.commands.keys import build_key_group
from service.commands.plain import PlainCommand, PlainGroup, TextCommand
from service.commands.worker import WorkerCommand

# Nothing heavy is imported at the top: ``credence --help`` must be quick.
if TYPE_CHECKING:
    from service.models.source import ServedModel

    ModelLoader = Callable[[Path | None], ServedModel]

_EXIT_REFUSED: Final = 2

TextArgument = Annotated[str | None, typer.Argument(metavar="[TEXT|FILE|-]", help="A text, a UTF-8 file, - for stdin.")]
# An empty metavar makes the help show a flag, where it would show a value of type bool.
JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON object a statement: text and result fields.")
]
LanguageOption = Annotated[str | None, typer.Option(help="en, uk or ru, where it need not be detected.")]
InputOption = Annotated[Path | None, typer.Option("--input", help="Rows to score, as for credence batch.")]
OutputOption = Annotated[Path | None, typer.Option("--output", help="Where the scored rows go, as for credence batch.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace --output if it exists.")]
BundleOption = Annotated[Path | None, typer.Option(help="The folder of a bundle; without it, the shipped one.")]
HostOption = Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")]
PortOption = Annotated[int | None, typer.Option(help="The port to listen on.", show_default="8000")]
ThreadsOption = Annotated[int | None, typer.Option(help="How many threads score, each a batch of what waits.")]
OpenOption = Annotated[
    bool, typer.Option("--allow-open", metavar="", help="Serve others than this machine without API keys.")
]
VersionOption = Annotated[
    bool,
    typer.Option(
        "--version",
        metavar="",
        is_eager=True,
        callback=lambda asked: print_version(asked),
        help="Print the version and stop.",
    ),
]


class Commands:
    """The commands, around the one thing that they need from outside: how a model is loaded."""

    def __init__(self, load_model: "ModelLoader") -> None:
        self._load_model = load_model

    def score(
        self,
        text: TextArgument = None,
        as_json: JsonOption = False,
        language: LanguageOption = None,
        input_path: InputOption = None,
        output_path: OutputOption = None,
        overwrite: OverwriteOption = False,
        bundle: BundleOption = None,
    ) -> None:
        """Score a text, a document or a file of rows.

        A text or document is split into statements. Rows are scored one statement a row: --input has the columns
        (keys) id, text and optionally language; --output gets, in the same order, id and the fields of the result.
        In CSV the scores are columns score_factual_report, score_allegation ..., and prediction_set is joined by "|".
        A row that cannot be scored gives {"id", "error": {"kind", "message"}, "line"} (in CSV: error_kind,
        error_message, line), and the rest goes on. Blank lines are passed over. In CSV a text cell that begins with
        = + - @, tab or CR gets an apostrophe in front, so that no spreadsheet takes it for a formula.

        A text that begins with - goes after --: credence score -- "-5 degrees ..."

        Exit code: 0 if all was scored (also where there are no rows), 1 if at least one row was not scored, 2 if the
        command could not run; then nothing is written.
        """
        with expected_errors():
            if overwrite and output_path is None:
                raise CommandError("--overwrite goes with --output: a text is not written to a file")
            if input_path is None and output_path is None:
                self._score_text(read_text(text), as_json=as_json, language=language, bundle=bundle)
            elif input_path is None or output_path is None:
                raise CommandError("--input and --output go together")
            elif text is not None or as_json or language is not None:
                raise CommandError("--input takes no text, --json or --language: extension and column say the same")
            else:
                score_file_here(
                    input_path, output_path, load_model=self._load_model, may_overwrite=overwrite, bundle=bundle
                )

    def serve(
        self,
        host: HostOption = None,
        port: PortOption = None,
        bundle: BundleOption = None,
        scoring_threads: ThreadsOption = None,
        allow_open: OpenOption = False,
    ) -> None:
        """Serve the API. Options win over the CREDENCE_* variables of the environment.

        Where others than this machine can connect it needs an API key, which credence keys create makes.
        """
        from service.app import create_app
        from service.batches.batches import open_spool
        from service.door.door import check_door
        from service.models.supply import open_supply
        from service.serving import open_listener, serve_app
        from service.settings import read_settings
        from service.store.database import open_database
        from service.store.key_store import KeyStore

        with expected_errors():
            settings = read_settings(
                host=host, port=port, bundle_path=bundle, scoring_threads=scoring_threads, allow_open=allow_open or None
            )
            database = open_database(settings.resolved_database_url)
            check_door(settings, KeyStore(database))
            open_spool(settings)
            supply = open_supply(settings)
            bundle_path = settings.bundle_path if supply is None else supply.find_first()
            # Only the application holds the model: once another one has taken over, this one must be able to go.
            app = create_app(settings, self._load_model(bundle_path), database, supply)
            listener = open_listener(settings.host, settings.port)
        serve_app(settings, app, database, listener)

    def _score_text(self, text: str, *, as_json: bool, language: str | None, bundle: Path | None) -> None:
        from rich.console import Console

        from credence.language import require_language
        from credence.normalise import check_text
        from service.commands.terminal import print_document, print_json_lines
        from service.models.bundle_choice import find_bundle
        from service.settings import read_settings

        settings = read_settings(bundle_path=bundle)
        check_text(text, max_chars=settings.max_document_chars)
        if language is not None:
            require_language(language)
        document = self._load_model(find_bundle(settings)).scorer.score_document(text, language=language)
        if as_json:
            print_json_lines(text, document)
        else:
            print_document(Console(highlight=False), text, document)


def build_cli(load_model: "ModelLoader") -> typer.Typer:
    """Return the command line around a way to load a model."""
    cli = typer.Typer(
        cls=PlainGroup,
        help="How a news statement is put - factual report, allegation or likely disinformation narrative.",
        no_args_is_help=True,
        add_completion=False,
        # A pretty traceback prints local variables, and those hold texts.
        pretty_exceptions_enable=False,
    )
    commands = Commands(load_model)
    cli.callback()(accept_version)
    cli.command("score", cls=TextCommand)(commands.score)
    cli.command("batch", cls=PlainCommand)(BatchCommand(load_model, expected_errors).score_batch)
    cli.command("serve", cls=PlainCommand)(commands.serve)
    cli.command("worker", cls=PlainCommand)(WorkerCommand(load_model, expected_errors).work)
    cli.add_typer(build_key_group(expected_errors), name="keys")
    cli.add_typer(build_feedback_group(expected_errors), name="feedback")
    add_inspection_commands(cli, load_model, expected_errors)
    return cli


def main() -> None:
    """Run the command with the real model."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    build_cli(load_packaged_model)()


def load_packaged_model(bundle_path: Path | None) -> "ServedModel":
    """Load a bundle, importing the runtime only now."""
    from service.models.source import load_served_model

    return load_served_model(bundle_path)


def accept_version(version: VersionOption = False) -> None:
    """Take the options that stand before a command."""


def print_version(is_asked: bool) -> None:
    """Print the version and stop, if asked."""
    if is_asked:
        from importlib import metadata

        typer.echo(f"credence {metadata.version('credence')}")
        raise typer.Exit


@contextmanager
def expected_errors() -> Iterator[None]:
    """Turn errors that a user can mend into one line on stderr and exit code 2."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except CredenceError as error:
        message = str(error)
    else:
        return
    typer.echo(f"credence: {message}", err=True)
    raise typer.Exit(_EXIT_REFUSED)
