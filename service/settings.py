"""The settings of the service: read once at start, from ``CREDENCE_*`` variables and the command line."""

from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from credence.errors import CredenceError

ENV_PREFIX: Final = "CREDENCE_"
MAX_STATEMENTS: Final = 256


class SettingsError(CredenceError):
    """A setting has a value that cannot be used; the message names the setting and what it may be."""


class Settings(BaseSettings):
    """Everything that can be set. Each field is the variable ``CREDENCE_`` plus its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True)

    host: str = Field(default="127.0.0.1", min_length=1, description="The address that the server listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="The TCP port that the server listens on.")
    bundle_path: Path | None = Field(
        default=None, description="The folder of the bundle to serve; without it, the one that ships in the package."
    )
    max_statements: int = Field(
        default=MAX_STATEMENTS, ge=1, le=MAX_STATEMENTS, description="The most statements that one request may hold."
    )
    max_statement_chars: int = Field(
        default=2_000,
        ge=1,
        description="The most characters of one statement; the codebook's statements have 4 to 75 words.",
    )
    max_document_chars: int = Field(default=100_000, ge=1, description="The most characters of one document.")
    max_body_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=1,
        description="The most bytes of a request body; a larger one is refused before it is read.",
    )
    scoring_threads: int = Field(
        default=2,
        ge=1,
        le=256,
        description="How many requests are scored at the same time; further ones wait their turn.",
    )


def read_settings(**overrides: str | int | Path | None) -> Settings:
    """Read the settings from the environment; overrides that are not ``None`` win. Raises ``SettingsError``."""
    try:
        given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
        return Settings(**given)
    except ValidationError as error:
        faults = [f"{ENV_PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("a setting cannot be used: " + "; ".join(faults)) from None
