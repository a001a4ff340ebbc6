from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from service.door.api_keys import KeyState, Scope, Token, proves
from service.store.database import Database
from service.store.key_store import KeyStore
from service.store.tables import api_keys
from tests.service.store.conftest import START, Clock

pytestmark = pytest.mark.on_both_databases


@pytest.fixture
def keys(database: Database, clock: Clock) -> KeyStore:
    return KeyStore(database, now=clock)


def test_a_key_comes_back_as_it_was_made(keys: KeyStore) -> None:
    key, token = keys.create("Newsroom", [Scope.READ, Scope.SCORE, Scope.READ], lifetime=timedelta(days=2))
    assert keys.list_keys() == [key]
    assert (key.prefix, key.name) == (token.prefix, "Newsroom")
    assert key.scopes == {Scope.SCORE, Scope.READ}
    assert (key.created_at, key.expires_at) == (START, START + timedelta(days=2))
    assert (key.last_used_at, key.revoked_at) == (None, None)


def test_nothing_that_is_kept_gives_the_secret_away(keys: KeyStore, database: Database) -> None:
    key, token = keys.create("Newsroom", [Scope.READ])
    with database.reading() as connection:
        row = connection.execute(select(api_keys)).one()
    assert token.secret not in repr(tuple(row))
    assert key.digest not in repr(key)
    assert token.secret not in repr(token)
    assert proves(token, key)


def test_a_key_ends_when_it_was_to_and_opens_nothing_at_that_moment(keys: KeyStore, clock: Clock) -> None:
    key, _ = keys.create("Newsroom", [Scope.READ], lifetime=timedelta(days=2))
    assert keys.has_usable()
    clock.time += timedelta(days=2)
    assert key.state_at(clock.time) is KeyState.EXPIRED
    assert not keys.has_usable()


def test_a_key_is_revoked_once_and_keeps_the_time_of_it(keys: KeyStore, clock: Clock) -> None:
    other, _ = keys.create("Desk", [Scope.READ])
    key, _ = keys.create("Newsroom", [Scope.READ])
    keys.revoke(key.prefix)
    clock.time += timedelta(days=1)
    revoked = keys.revoke(key.prefix)
    assert revoked is not None
    assert (revoked.revoked_at, revoked.state_at(clock.time)) == (START, KeyState.REVOKED)
    assert keys.list_keys()[0] == other
    assert keys.revoke("00000000") is None


def test_the_last_use_is_written_once_a_minute_and_never_set_back(keys: KeyStore) -> None:
    key, _ = keys.create("Newsroom", [Scope.READ])
    for seconds, expected in ((0, 0), (59, 0), (60, 60), (30, 60)):
        keys.note_use(key.prefix, START + timedelta(seconds=seconds))
        assert keys.list_keys()[0].last_used_at == START + timedelta(seconds=expected)


def test_a_scope_of_a_later_version_opens_nothing_here(keys: KeyStore, database: Database) -> None:
    keys.create("Newsroom", [Scope.READ])
    with database.writing() as connection:
        connection.execute(update(api_keys).values(scopes=["read", "translate"]))
    assert keys.list_keys()[0].scopes == {Scope.READ}


def test_no_two_keys_have_the_same_prefix(keys: KeyStore, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = keys.create("Newsroom", [Scope.READ])
    with database.reading() as connection:
        taken = dict(connection.execute(select(api_keys)).one()._mapping)
    drawn = iter([Token(first.prefix, "0" * 64), Token("ffffffff", "0" * 64)])
    monkeypatch.setattr(Token, "make", lambda: next(drawn))
    assert keys.create("Desk", [Scope.READ])[0].prefix == "ffffffff"
    with pytest.raises(Exception, match=r"(?i)unique"), database.writing() as connection:
        connection.execute(insert(api_keys).values({**taken, "seq": 99}))


@pytest.mark.parametrize(
    "text",
    ["", "cred_", "cred_1a2b3c4d", "1a2b3c4d_" + "0" * 64, "cred_1a2b3c4d_" + "0" * 63, "cred_1A2b3c4d_" + "0" * 64],
)
def test_what_is_not_a_key_is_not_taken_for_one(text: str) -> None:
    assert Token.parse(text) is None


def test_a_token_is_read_as_it_was_written() -> None:
    token = Token.make()
    assert Token.parse(token.text) == token
    assert not proves(token, None)
