"""``credence keys``: makes API keys, lists them and revokes them, in the database of the settings."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands.arguments import CommandError
from service.commands.plain import PlainCommand, PlainGroup
from service.door.api_keys import KeyState, Scope, StoredKey

# Nothing heavy is imported at the top: ``credence --help`` must be quick.
if TYPE_CHECKING:
    from service.store.key_store import KeyStore

_MAX_NAME_CHARS: Final = 200
_MAX_DAYS: Final = 36_500
_COLUMNS: Final = ("prefix", "name", "scopes", "created", "expires", "last used (UTC)", "state")
_LONG: Final = ("name", "scopes")
# Whoever passes the list on to another program wants a line for each key.
_PIPED_WIDTH: Final = 320

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; any words of yours.")]
ScopeOption = Annotated[list[Scope], typer.Option("--scope", help="What the key opens; give it once for each.")]
DaysOption = Annotated[
    int | None, typer.Option(min=1, max=_MAX_DAYS, metavar="N", help="After how many days it opens nothing more.")
]
PrefixArgument = Annotated[
    str, typer.Argument(metavar="PREFIX", help="The 8 characters that credence keys list shows.")
]


class KeyCommands:
    """The commands. Errors that a user can mend are raised in ``expected_errors``, which says them."""

    def __init__(self, expected_errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._expected_errors = expected_errors

    def create(self, name: NameArgument, scope: ScopeOption, expires_in_days: DaysOption = None) -> None:
        """Make a key and print it. It is shown only this once: the database keeps no more than a digest.

        score opens scoring of statements, documents and batches; read what was kept, statistics and events; feedback
        sending feedback; admin deleting, webhooks and the exchange of models.
        """
        with self._expected_errors():
            if not 1 <= len(name) <= _MAX_NAME_CHARS or not name.isprintable():
                raise CommandError(f"NAME must have 1 to {_MAX_NAME_CHARS} characters, all of them printable")
            lifetime = None if expires_in_days is None else timedelta(days=expires_in_days)
            with _open_store() as store:
                key, token = store.create(name, scope, lifetime=lifetime)
        typer.echo(token.text)
        end = "It does not expire" if key.expires_at is None else f"It expires on {_day(key.expires_at)}"
        typer.echo(
            f"This is the only time that the key is shown. It opens: {_join(key)}. {end}; credence keys revoke "
            f"{key.prefix} ends it. Send it as the header Authorization: Bearer KEY.",
            err=True,
        )

    def list_all(self) -> None:
        """List all keys, with when each was last used. No secret is shown: none is kept."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        with self._expected_errors(), _open_store() as store:
            keys = store.list_keys()
        now = datetime.now(UTC)
        table = Table(header_style="bold", box=None)
        for column in _COLUMNS:
            table.add_column(column, overflow="fold", no_wrap=column not in _LONG)
        for key in keys:
            state = key.state_at(now)
            cells = (
                key.prefix, key.name, _join(key), _day(key.created_at), _day(key.expires_at), _minute(key.last_used_at),
                state.value,
            )  # fmt: skip
            table.add_row(*map(Text, cells), style=None if state is KeyState.USABLE else "dim")
        if keys:
            console = Console(highlight=False)
            console.width = console.width if console.is_terminal else _PIPED_WIDTH
            console.print(table)
        else:
            typer.echo("There are no keys; credence keys create makes one.", err=True)

    def revoke(self, prefix: PrefixArgument) -> None:
        """Make a key useless for ever. A running service stops taking it within seconds."""
        with self._expected_errors(), _open_store() as store:
            key = store.revoke(prefix)
            if key is None:
                raise CommandError("no key has this PREFIX; credence keys list shows those that exist")
        typer.echo(f"The key {key.prefix} ({key.name}) is revoked since {_minute(key.revoked_at)} UTC.", err=True)


def build_key_group(expected_errors: Callable[[], AbstractContextManager[None]]) -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(cls=PlainGroup, help="API keys, for a service that others can reach.", no_args_is_help=True)
    commands = KeyCommands(expected_errors)
    group.command("create", cls=PlainCommand)(commands.create)
    group.command("list", cls=PlainCommand)(commands.list_all)
    group.command("revoke", cls=PlainCommand)(commands.revoke)
    return group


@contextmanager
def _open_store() -> "Iterator[KeyStore]":
    from service.settings import read_settings
    from service.store.database import open_database
    from service.store.key_store import KeyStore

    database = open_database(read_settings().resolved_database_url)
    try:
        yield KeyStore(database)
    finally:
        database.close()


def _join(key: StoredKey) -> str:
    return ", ".join(sorted(key.scopes))


def _day(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%d}"


def _minute(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%d %H:%M}"
