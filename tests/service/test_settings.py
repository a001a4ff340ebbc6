from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, SettingsError, read_settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CREDENCE_{name.upper()}", raising=False)


def test_the_environment_sets_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENCE_PORT", "9000")
    monkeypatch.setenv("CREDENCE_HOST", "::1")
    monkeypatch.setenv("CREDENCE_BUNDLE_PATH", "some/bundle")
    settings = read_settings(host=None, port=9001)
    assert (settings.host, settings.port, settings.bundle_path) == ("::1", 9001, Path("some/bundle"))


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENCE_PORT", "")
    assert read_settings().port == 8000


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "eighty"), ("PORT", "0"), ("MAX_STATEMENTS", "257"), ("SCORING_THREADS", "0")]
)
def test_an_unusable_value_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CREDENCE_{name}", value)
    with pytest.raises(SettingsError, match=f"CREDENCE_{name}"):
        read_settings()


def test_an_unusable_option_is_named_too() -> None:
    with pytest.raises(SettingsError, match="CREDENCE_HOST"):
        read_settings(host="")


def test_settings_do_not_change_after_the_start() -> None:
    settings = read_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 9000


def test_every_setting_is_described_in_one_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert ". " not in field.description, name
