"""The settings of the service: read once at start, from ``CREDENCE_*`` variables and the command line."""

from pathlib import Path
from typing import Any, Final

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError
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
    state_path: Path = Field(
        default_factory=lambda: user_data_path("credence"),
        description="The folder of what the service keeps: its database, and uploads of batches until they are scored.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="The database, as postgresql://user:password@host/name; without it, SQLite in the state folder.",
    )
    store_by_default: bool = Field(
        default=True, description="Whether scored texts are kept where a request does not say `store`."
    )
    retention_days: int | None = Field(
        default=None, ge=1, description="After how many days scores are deleted with their texts; without it, never."
    )
    batch_retention_hours: int = Field(
        default=168, ge=1, description="How many hours after its end a batch and its results can be fetched."
    )
    max_batch_bytes: int = Field(
        default=1024**3, ge=1, description="The most bytes of the file of a batch; it is streamed to disk."
    )
    batch_workers: int = Field(
        default=1,
        ge=0,
        le=64,
        description="How many threads of this process score batches; 0 leaves them to `credence worker`.",
    )
    max_event_streams: int = Field(
        default=100, ge=0, description="How many clients may listen to /v1/events at the same time."
    )
    webhook_allow_private: bool = Field(
        default=False, description="Whether webhooks may go to private, loopback and link-local addresses."
    )

    @property
    def resolved_database_url(self) -> str:
        """Return the URL of the database, which can hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.state_path.absolute() / 'credence.db'}"


def read_settings(**overrides: str | int | Path | None) -> Settings:
    """Read the settings from the environment; overrides that are not ``None`` win. Raises ``SettingsError``."""
    try:
        given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
        return Settings(**given)
    except ValidationError as error:
        faults = [f"{ENV_PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("a setting cannot be used: " + "; ".join(faults)) from None
