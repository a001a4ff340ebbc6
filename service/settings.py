"""The settings of the service: read once at start, from ``CREDENCE_*`` variables and the command line."""

import os
from pathlib import Path
from typing import Any, Final, Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from credence.errors import CredenceError
from service.door.addresses import is_loopback
from service.setting_types import HostNames, ModelSourceName, Networks, Origins, Rate

ENV_PREFIX: Final = "CREDENCE_"
MAX_STATEMENTS: Final = 256
# What tests and training are told.
_OTHER_VARIABLES: Final = frozenset({f"{ENV_PREFIX}DATA"})


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
    model_source: ModelSourceName | None = Field(
        default=None,
        description="The bundle that an alias names, instead of a folder: models:/NAME@ALIAS or file:FOLDER@ALIAS.",
    )
    model_tracking_uri: SecretStr | None = Field(
        default=None, description="The MLflow server or store that models:/ is looked up in."
    )
    model_exchange: Literal["automatic", "manual"] = Field(
        default="automatic", description="Whether another model takes over by itself once it has passed its trial."
    )
    model_check_seconds: float = Field(
        default=60, gt=0, le=86_400, description="How often the alias of the model source is looked at."
    )
    shadow_statements: int = Field(
        default=200, ge=0, le=5_000, description="On how many of the newest kept statements another model is tried."
    )
    min_agreement: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="The least share of those statements with the same label with which it takes over by itself.",
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
        description="How many threads score; each takes a batch of what waits at a time.",
    )
    max_batch_tokens: int = Field(
        default=1024,
        ge=1,
        le=65_536,
        description="About how many tokens of waiting statements go through the model at once.",
    )
    max_waiting_statements: int = Field(
        default=1024, ge=1, description="With so many statements waiting to be scored, requests are refused."
    )
    max_waiting_per_caller: int = Field(
        default=512, ge=1, description="With so many statements of one caller waiting, its requests are refused."
    )
    max_wait_seconds: float = Field(
        default=30, gt=0, le=3600, description="How long a request waits for its scores before it is refused."
    )
    drain_seconds: float = Field(
        default=30, ge=0, le=3600, description="How long requests may still be answered when the service is to stop."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="From which level on there are log lines."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="How log lines are written; auto means text on a terminal and JSON elsewhere."
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
        default=None,
        ge=1,
        le=36_500,
        description="After how many days scores are deleted with their texts; without it, never.",
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
    otlp_endpoint: str | None = Field(
        default=None,
        min_length=1,
        description="Where spans of requests are sent by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces.",
    )
    max_event_streams: int = Field(
        default=100, ge=0, description="How many clients may listen to /v1/events at the same time."
    )
    webhook_allow_private: bool = Field(
        default=False, description="Whether webhooks may go to private, loopback and link-local addresses."
    )

    api_key: SecretStr | None = Field(
        default=None, description="The API key that `credence batch --server` shows to a service."
    )
    require_keys: bool | None = Field(
        default=None,
        description="Whether requests need an API key; without it, only where others than this machine can connect.",
    )
    allow_open: bool = Field(
        default=False, description="Whether the service may be open, without keys, to others than this machine."
    )
    rate_limit: Rate = Field(
        default="3000/minute",
        description="How much one API key may ask for, as number/second, /minute, /hour or /day, or none for no limit.",
    )
    open_rate_limit: Rate = Field(
        default="300/minute", description="How much one address may ask for without an API key, written as rate_limit."
    )
    feedback_rate_limit: Rate = Field(
        default="60/minute", description="How often one API key or address may send feedback, written as rate_limit."
    )
    limit_loopback: bool = Field(
        default=False, description="Whether callers on this machine have the limits of an address, too."
    )
    max_open_batches: int = Field(
        default=8,
        ge=1,
        description="How many unfinished batches one API key may have, and all callers without one together.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    )
    allowed_hosts: HostNames = Field(
        default=(),
        description="Names under which the service may be asked, beside addresses, localhost and the name of `host`.",
    )
    cors_origins: Origins = Field(
        default=(), description="Origins such as https://desk.example whose pages may use the API in a browser."
    )
    body_timeout_seconds: float = Field(
        default=20, gt=0, description="How long a client may keep a request waiting for the rest of its body."
    )

    @field_validator("model_source")
    @classmethod
    def _is_one_of_two(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and info.data.get("bundle_path") is not None:
            raise ValueError("a bundle is named by CREDENCE_BUNDLE_PATH, too; leave one of them out")
        return name

    @property
    def keys_are_required(self) -> bool:
        """Return whether requests need an API key: where others can connect, unless it is set otherwise."""
        if self.require_keys is not None:
            return self.require_keys
        return not (is_loopback(self.host) or self.allow_open)

    @property
    def resolved_database_url(self) -> str:
        """Return the URL of the database, which can hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.state_path.absolute() / 'credence.db'}"


def find_unknown_variables() -> list[str]:
    """Return the variables of the environment that look like settings and are none, such as misspelt ones."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    return sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)


def read_settings(**overrides: str | int | Path | None) -> Settings:
    """Read the settings from the environment; overrides that are not ``None`` win. Raises ``SettingsError``."""
    try:
        given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
        if "bundle_path" in given:
            given["model_source"] = None
        return Settings(**given)
    except ValidationError as error:
        faults = [f"{ENV_PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("a setting cannot be used: " + "; ".join(faults)) from None
