"""``credence doctor``, ``credence settings`` and ``credence openapi``: what the service needs, takes and offers."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands.plain import PlainCommand

# Nothing heavy is imported at the top: ``credence --help`` must be quick.
if TYPE_CHECKING:
    from service.cli import ModelLoader
    from service.commands.doctor import Check

_NAME_WIDTH: Final = 12
_STATE_WIDTH: Final = 7

HostOption = Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")]
PortOption = Annotated[int | None, typer.Option(help="The port to listen on.", show_default="8000")]
BundleOption = Annotated[Path | None, typer.Option(help="The folder of a bundle; without it, the shipped one.")]
JsonOption = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Where it goes; an older file is replaced.", show_default="stdout"),
]


class InspectionCommands:
    """The commands. Errors that a user can mend are raised in ``expected_errors``, which says them."""

    def __init__(self, load_model: "ModelLoader", expected_errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._load_model = load_model
        self._expected_errors = expected_errors

    def examine(
        self, host: HostOption = None, port: PortOption = None, bundle: BundleOption = None, as_json: JsonOption = False
    ) -> None:
        """Look whether the service can run here, and say what to do where it cannot. Nothing is changed by looking.

        It looks at Python and packages, settings, the model, the folder of the state and its disk, the database, the
        clock, keys and the port, as credence serve would with the same options and CREDENCE_* variables.

        Exit code: 0 if all is well, 1 if there are warnings, 2 if something has failed.
        """
        from service.commands.doctor import State, examine
        from service.settings import read_settings

        codes = {State.OK: 0, State.WARNING: 1, State.FAILED: 2}
        checks = []
        for check in examine(partial(read_settings, host=host, port=port, bundle_path=bundle), self._load_model):
            checks.append(check)
            if not as_json:
                _print_check(check)
        worst = max((check.state for check in checks), key=codes.__getitem__)
        if as_json:
            typer.echo(json.dumps({"state": worst, "checks": [asdict(check) for check in checks]}, ensure_ascii=False))
        raise typer.Exit(codes[worst])

    def write_settings(self, output_path: FileOption = None) -> None:
        """Write all settings, with their variables and defaults, as a table in Markdown."""
        from service.commands.setting_table import write_setting_table

        with self._expected_errors():
            _write(write_setting_table(), output_path)

    def write_openapi(self, output_path: FileOption = None) -> None:
        """Write the OpenAPI document of the service with default settings."""
        from service.commands.openapi_file import write_openapi

        with self._expected_errors():
            _write(write_openapi(self._load_model(None)), output_path)


def add_inspection_commands(
    cli: typer.Typer, load_model: "ModelLoader", expected_errors: Callable[[], AbstractContextManager[None]]
) -> None:
    """Add the commands to a command line."""
    commands = InspectionCommands(load_model, expected_errors)
    cli.command("doctor", cls=PlainCommand)(commands.examine)
    cli.command("settings", cls=PlainCommand)(commands.write_settings)
    cli.command("openapi", cls=PlainCommand)(commands.write_openapi)


def _print_check(check: "Check") -> None:
    typer.echo(f"{check.state.value:<{_STATE_WIDTH}}  {check.name:<{_NAME_WIDTH}}  {check.found}")
    if check.advice is not None:
        typer.echo(f"{'':<{_STATE_WIDTH + _NAME_WIDTH + 4}}{check.advice}")


def _write(text: str, path: Path | None) -> None:
    if path is None:
        typer.echo(text, nl=False)
    else:
        path.write_text(text, encoding="utf-8")
