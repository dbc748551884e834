"""Every setting of the pipeline, typed, in one place, read from environment variables.

Nothing else in the package looks at the environment. A wrong value fails here, at start, with the variable's name
and what was expected; secrets are ``SecretStr`` and never show in a message.
The table in ``docs/configuration.md`` is made from the fields below (``tempagg settings --markdown``).
"""

import functools
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AliasChoices, BaseModel, Field, FiniteFloat, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

LOCAL_STATE = Path(__file__).resolve().parents[2] / ".local"

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SettingsError(ValueError):
    """A setting has a wrong value. One line a setting, naming its environment variable; no secret in it."""


class _Section(BaseSettings):
    # An empty variable counts as unset: compose files and Helm charts pass on "" for what nobody chose.
    # The prefix is for field names alone, which populate_by_name makes variables too: without it `container`, which
    # podman sets, or `HOST` would be read as settings.
    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True, env_prefix="TEMPAGG_FIELD_"
    )


_S = TypeVar("_S", bound=_Section)


class StoreSettings(_Section):
    """Where raw and hourly CSV objects live."""

    backend: Literal["local", "azure"] | None = Field(
        None,
        validation_alias="TEMPAGG_STORE",
        description="`local` (a directory) or `azure` (Blob Storage). Unset: `azure` when an Azure account is"
        " configured by one of the `AZURE_…` variables below, else `local`.",
    )
    container: str = Field(
        "temperaturefiles",
        validation_alias="TEMPAGG_CONTAINER",
        min_length=3,
        max_length=63,
        pattern=r"^[a-z0-9](-?[a-z0-9])*$",
        description="Blob container, or the directory below the local root, that holds raw and hourly objects.",
    )
    local_root: Path = Field(
        LOCAL_STATE / "store",
        validation_alias="TEMPAGG_LOCAL_ROOT",
        description="Directory of the local store; laid out as the storage account: one folder a container.",
    )
    landing: str | None = Field(
        None,
        validation_alias="TEMPAGG_LANDING",
        description="Where producers leave raw files when not straight in the container: a directory, or"
        " `az://container` in the same account. The raw asset copies from there.",
    )
    threads: PositiveInt = Field(
        4,
        validation_alias="TEMPAGG_THREADS",
        description="Locations that one run reads and writes at a time; mostly it waits for the store.",
    )
    account: str | None = Field(
        None, validation_alias="AZURE_STORAGE_ACCOUNT", description="Name of the storage account."
    )
    endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("AZURE_STORAGE_BLOB_ENDPOINT", "AZURE_STORAGE_ACCOUNT_URL"),
        description="Blob endpoint, where it is not `https://<account>.blob.core.windows.net`"
        " (sovereign clouds, private endpoints, Azurite).",
    )
    account_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"),
        description="Account key. Prefer leaving it unset: then `DefaultAzureCredential` is used"
        " (workload identity, managed identity, `az login`, …).",
    )
    sas_token: SecretStr | None = Field(
        None, validation_alias="AZURE_STORAGE_SAS_TOKEN", description="Shared access signature, instead of the key."
    )
    connection_string: SecretStr | None = Field(
        None,
        validation_alias="AZURE_STORAGE_CONNECTION_STRING",
        description="Connection string, instead of account name and key.",
    )
    credentials_path: Path | None = Field(
        None,
        validation_alias="AZURE_CREDENTIALS_PATH",
        description='JSON file `{"storage_account": …, "account_key": …}`, as the original job had it.',
    )

    @property
    def is_azure(self) -> bool:
        """Whether objects live in Azure Blob Storage."""
        if self.backend is not None:
            return self.backend == "azure"
        return any((self.account, self.endpoint, self.connection_string, self.credentials_path))

    @model_validator(mode="after")
    def _azure_needs_an_account(self) -> Self:
        if self.is_azure and not any((self.account, self.endpoint, self.connection_string, self.credentials_path)):
            raise ValueError(
                "TEMPAGG_STORE=azure needs AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_BLOB_ENDPOINT,"
                " AZURE_STORAGE_CONNECTION_STRING or AZURE_CREDENTIALS_PATH"
            )
        return self


class QualitySettings(_Section):
    """What counts as good input and as a good hour."""

    bad_rows_max_share: Share = Field(
        0.0,
        validation_alias="TEMPAGG_BAD_ROWS_MAX_SHARE",
        description="Share of a file's rows that may be unreadable and are then skipped and counted; 0: none may.",
    )
    hour_min_coverage: Share = Field(
        0.66,
        validation_alias="TEMPAGG_HOUR_MIN_COVERAGE",
        description="Share of an hour's 60 minutes that must have a reading for the hour to count as complete"
        " (WMO-No. 8 asks for 66 % of the samples of an average).",
    )
    incomplete_hours_max_share: Share = Field(
        0.0,
        validation_alias="TEMPAGG_INCOMPLETE_HOURS_MAX_SHARE",
        description="Share of hours below that coverage from which on the completeness check warns.",
    )
    plausible_min_celsius: FiniteFloat = Field(
        -90.0,
        validation_alias="TEMPAGG_PLAUSIBLE_MIN_CELSIUS",
        description="Lowest plausible temperature (the record on Earth is -89.2).",
    )
    plausible_max_celsius: FiniteFloat = Field(
        60.0,
        validation_alias="TEMPAGG_PLAUSIBLE_MAX_CELSIUS",
        description="Highest plausible temperature (the record is 56.7).",
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        if self.plausible_min_celsius >= self.plausible_max_celsius:
            raise ValueError("TEMPAGG_PLAUSIBLE_MIN_CELSIUS must be below TEMPAGG_PLAUSIBLE_MAX_CELSIUS")
        return self


class RedisSettings(_Section):
    """How to reach the Redis server that holds the work queue."""

    url: SecretStr | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="`redis://`, `rediss://` (TLS), `redis+sentinel://host:port,host:port/service` or"
        " `redis+cluster://host:port`. Unset, and `REDIS_HOST` too: an embedded server on a free local port.",
    )
    host: str | None = Field(None, validation_alias="REDIS_HOST", description="Host, instead of a URL.")
    port: Annotated[int, Field(gt=0, lt=65536)] = Field(
        6379, validation_alias="REDIS_PORT", description="Port beside `REDIS_HOST`."
    )
    tls: bool = Field(False, validation_alias="REDIS_TLS", description="TLS beside `REDIS_HOST`.")
    username: str | None = Field(None, validation_alias="REDIS_USERNAME", description="ACL user.")
    password: SecretStr | None = Field(None, validation_alias="REDIS_PASSWORD", description="Password.")
    sentinel_username: str | None = Field(
        None, validation_alias="REDIS_SENTINEL_USERNAME", description="ACL user of the sentinels themselves."
    )
    sentinel_password: SecretStr | None = Field(
        None, validation_alias="REDIS_SENTINEL_PASSWORD", description="Password of the sentinels themselves."
    )
    ca_file: Path | None = Field(
        None, validation_alias="REDIS_CA_FILE", description="CA certificates for TLS; default: the system's."
    )
    timeout_seconds: PositiveSeconds = Field(
        5.0, validation_alias="REDIS_TIMEOUT_SECONDS", description="Limit for connecting and for each answer."
    )
    retries: Annotated[int, Field(ge=0)] = Field(
        3, validation_alias="REDIS_RETRIES", description="Retries of a failed connection, with exponential back-off."
    )
    embedded_dir: Path = Field(
        LOCAL_STATE / "redis",
        validation_alias="TEMPAGG_REDIS_DIR",
        description="Append-only file, password and log of the embedded server.",
    )

    @property
    def is_embedded(self) -> bool:
        """Whether no server is configured, so that the embedded one is used."""
        return self.url is None and self.host is None


class QueueSettings(_Section):
    """The leased work queue and how it is fanned out."""

    name: str = Field(
        "temperature_job",
        validation_alias="TEMPAGG_QUEUE",
        pattern=r"^[^{}\s]+$",
        description="Redis list that producers push file names to.",
    )
    lease_seconds: PositiveSeconds = Field(
        300.0,
        validation_alias="TEMPAGG_LEASE_SECONDS",
        description="Visibility timeout: an item whose worker is silent for so long goes back to the queue.",
    )
    max_attempts: PositiveInt = Field(
        5, validation_alias="TEMPAGG_MAX_ATTEMPTS", description="Failed attempts after which an item is a dead letter."
    )
    backoff_seconds: PositiveSeconds = Field(
        5.0,
        validation_alias="TEMPAGG_BACKOFF_SECONDS",
        description="Delay after a first failure, shortened at random by up to half; doubles each time.",
    )
    backoff_max_seconds: PositiveSeconds = Field(
        600.0, validation_alias="TEMPAGG_BACKOFF_MAX_SECONDS", description="Longest delay before another attempt."
    )
    parallelism: PositiveInt = Field(
        3,
        validation_alias="TEMPAGG_PARALLELISM",
        description="Fan-out runs queued or running at a time (three, as the original job had pods).",
    )
    files_per_run_max: PositiveInt = Field(
        500, validation_alias="TEMPAGG_FILES_PER_RUN_MAX", description="Most files that one fan-out run gets."
    )
    sensor_interval_seconds: Annotated[int, Field(ge=1)] = Field(
        5, validation_alias="TEMPAGG_SENSOR_INTERVAL_SECONDS", description="Least seconds between two queue ticks."
    )
    sensor_wait_seconds: Annotated[float, Field(ge=0, le=20)] = Field(
        4.0,
        validation_alias="TEMPAGG_SENSOR_WAIT_SECONDS",
        description="How long a queue tick waits for files before it ends empty-handed, so that files pushed to an idle"
        " queue need not wait for the next tick; 0: not at all.",
    )

    @model_validator(mode="after")
    def _backoff_is_ordered(self) -> Self:
        if self.backoff_seconds > self.backoff_max_seconds:
            raise ValueError("TEMPAGG_BACKOFF_SECONDS must not be above TEMPAGG_BACKOFF_MAX_SECONDS")
        return self


class Settings(BaseModel):
    """All sections together; ``load_settings()`` reads them from the environment."""

    store: StoreSettings
    quality: QualitySettings
    redis: RedisSettings
    queue: QueueSettings


def load_settings() -> Settings:
    """Read all settings from the environment now.

    Raises:
        SettingsError: a variable has a wrong value; the message names each one and what was expected.
    """
    problems: list[str] = []

    def read(section: type[_S]) -> _S | None:
        try:
            return section()
        except ValidationError as error:
            problems.extend(_describe(problem) for problem in error.errors(include_input=False, include_url=False))
            return None

    store, quality, redis, queue = read(StoreSettings), read(QualitySettings), read(RedisSettings), read(QueueSettings)
    if store is None or quality is None or redis is None or queue is None:
        raise SettingsError("\n".join(problems))
    return Settings(store=store, quality=quality, redis=redis, queue=queue)


@functools.cache
def settings() -> Settings:
    """The process's settings, read once from the environment."""
    return load_settings()


def _describe(problem: ErrorDetails) -> str:
    """One line: variable and expectation. The value is left out, since it may be a secret."""
    message = problem["msg"].removeprefix("Value error, ")
    variable = ".".join(str(part) for part in problem["loc"])
    return f"{variable}: {message}" if variable else message
