from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from service.cli import build_cli
from service.door.api_keys import Scope, Token
from service.door.door import OpenDoorError, check_door
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from service.store.key_store import KeyStore

Run = Callable[..., Result]


@pytest.fixture
def run(served_model: ServedModel) -> Run:
    cli = build_cli(lambda bundle_path: served_model)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


@pytest.fixture
def keys(database: Database) -> KeyStore:
    """Return the keys of the database that the commands use, too."""
    return KeyStore(database)


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_a_key_is_shown_once_and_alone_on_stdout(run: Run, keys: KeyStore) -> None:
    result = run("keys", "create", "Newsroom", "--scope", "score", "--scope", "read")
    token = Token.parse(result.stdout.strip())
    assert (result.exit_code, token is not None) == (0, True)
    assert token is not None
    [key] = keys.list_keys()
    assert (key.prefix, key.digest, key.name) == (token.prefix, token.digest, "Newsroom")
    assert key.scopes == {Scope.SCORE, Scope.READ}
    assert key.expires_at is None
    assert "the only time" in result.stderr
    assert token.secret not in result.stderr + run("keys", "list").output


def test_a_key_may_end_by_itself(run: Run, keys: KeyStore) -> None:
    run("keys", "create", "Intern", "--scope", "score", "--expires-in-days", "30")
    [key] = keys.list_keys()
    assert key.expires_at == key.created_at + timedelta(days=30)


def test_the_list_says_what_each_key_is_and_how_it_stands(run: Run, keys: KeyStore) -> None:
    used, _ = keys.create("[bold]Newsroom", [Scope.SCORE, Scope.READ])
    revoked, _ = keys.create("Desk", [Scope.ADMIN])
    keys.create("Intern", [Scope.FEEDBACK], lifetime=-timedelta(days=1))
    keys.note_use(used.prefix, datetime(2026, 3, 1, 12, 30, tzinfo=UTC))
    keys.revoke(revoked.prefix)
    told = run("keys", "list").stdout
    for part in (used.prefix, revoked.prefix, "usable", "revoked", "expired", "admin", "feedback", "never"):
        assert part in told
    line = next(line for line in told.splitlines() if used.prefix in line)
    assert line.split()[1:4] == ["[bold]Newsroom", "read,", "score"]
    assert "2026-03-01 12:30" in line
    assert used.digest not in told


def test_an_empty_list_says_how_to_make_a_key(run: Run) -> None:
    result = run("keys", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "credence keys create" in result.stderr


def test_a_revoked_key_stays_revoked(run: Run, keys: KeyStore) -> None:
    key, _ = keys.create("Newsroom", [Scope.SCORE])
    for _ in range(2):
        result = run("keys", "revoke", key.prefix)
        assert (result.exit_code, result.stdout) == (0, "")
    assert keys.list_keys()[0].revoked_at is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "", "--scope", "read"), "NAME must have 1 to 200 characters"),
        (("create", "a" * 201, "--scope", "read"), "NAME must have 1 to 200 characters"),
        (("create", "\x1b[31mred", "--scope", "read"), "printable"),
        (("revoke", "00000000"), "no key has this PREFIX"),
        (("create", "Newsroom"), "--scope"),
        (("create", "Newsroom", "--scope", "all"), "score"),
        (("create", "Newsroom", "--scope", "read", "--expires-in-days", "0"), "--expires-in-days"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_and_nothing_is_made(
    run: Run, keys: KeyStore, arguments: tuple[str, ...], message: str
) -> None:
    result = run("keys", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in words(result.stderr)
    assert keys.list_keys() == []


@pytest.mark.parametrize("command", [(), ("create",), ("list",), ("revoke",)])
def test_help_shows_no_value_where_an_option_takes_none(run: Run, command: tuple[str, ...]) -> None:
    told = run("keys", *command, "--help").stdout
    assert "--help" in told
    assert "bool" not in told


def test_the_service_does_not_listen_for_others_without_a_key(run: Run) -> None:
    result = run("serve", "--host", "203.0.113.1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "credence keys create NAME --scope score --scope read" in result.stderr
    assert "--allow-open" in result.stderr


@pytest.mark.parametrize(
    ("given", "is_refused"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "127.0.0.1", "require_keys": True}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "allow_open": True}, False),
        ({"host": "0.0.0.0", "require_keys": False}, True),
        ({"host": "0.0.0.0", "require_keys": False, "allow_open": True}, False),
        ({"host": "0.0.0.0", "require_keys": True, "allow_open": True}, True),
    ],
    ids=str,
)
def test_others_are_let_in_with_a_key_or_on_purpose(keys: KeyStore, given: dict[str, object], is_refused: bool) -> None:
    settings = Settings.model_validate(given)
    if is_refused:
        with pytest.raises(OpenDoorError, match="others can connect"):
            check_door(settings, keys)
    else:
        check_door(settings, keys)


def test_only_a_usable_key_counts(keys: KeyStore) -> None:
    settings = Settings(host="0.0.0.0")
    keys.create("Intern", [Scope.READ], lifetime=-timedelta(days=1))
    keys.revoke(keys.create("Desk", [Scope.READ])[0].prefix)
    with pytest.raises(OpenDoorError):
        check_door(settings, keys)
    keys.create("Newsroom", [Scope.SCORE])
    check_door(settings, keys)
