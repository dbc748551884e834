"""Settings from environment variables: defaults, wrong values told in one line each, no secret shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tempagg_pipeline.core.settings import (
    LOCAL_STATE,
    QualitySettings,
    QueueSettings,
    RedisSettings,
    SettingsError,
    StoreSettings,
    load_settings,
    settings,
)

SECTIONS = (StoreSettings, QualitySettings, RedisSettings, QueueSettings)
SECRET = "c2VjcmV0"


def _variables() -> list[str]:
    names: list[str] = []
    for section in SECTIONS:
        for field in section.model_fields.values():
            alias = field.validation_alias
            choices = [alias] if isinstance(alias, str) else getattr(alias, "choices", [])
            names += [str(choice) for choice in choices]
    return names


def _error(monkeypatch: pytest.MonkeyPatch, **env: str) -> list[str]:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value).splitlines()


def test_nothing_needs_to_be_set():
    loaded = load_settings()
    assert not loaded.store.is_azure
    assert loaded.store.local_root == LOCAL_STATE / "store"
    assert loaded.store.container == "temperaturefiles"
    assert loaded.store.landing is None
    assert loaded.redis.is_embedded
    assert loaded.queue.name == "temperature_job"
    assert loaded.quality.bad_rows_max_share == 0


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch):
    for name in _variables():
        monkeypatch.delenv(name, raising=False)
    before = load_settings()
    for name in _variables():
        monkeypatch.setenv(name, "")
    assert load_settings() == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TEMPAGG_STORE", "s3"), ("TEMPAGG_STORE", "Azure"),
        ("TEMPAGG_CONTAINER", "Upper"), ("TEMPAGG_CONTAINER", "ab"), ("TEMPAGG_CONTAINER", "a--b"),
        ("TEMPAGG_CONTAINER", "-ab"), ("TEMPAGG_CONTAINER", "ab-"), ("TEMPAGG_CONTAINER", "x" * 64),
        ("TEMPAGG_CONTAINER", "../up"), ("TEMPAGG_CONTAINER", "abc\n"),
        ("TEMPAGG_THREADS", "0"), ("TEMPAGG_THREADS", "-1"), ("TEMPAGG_THREADS", "many"), ("TEMPAGG_THREADS", "1.5"),
        ("TEMPAGG_BAD_ROWS_MAX_SHARE", "-0.1"), ("TEMPAGG_BAD_ROWS_MAX_SHARE", "1.1"),
        ("TEMPAGG_BAD_ROWS_MAX_SHARE", "5%"), ("TEMPAGG_BAD_ROWS_MAX_SHARE", "nan"),
        ("TEMPAGG_HOUR_MIN_COVERAGE", "66"), ("TEMPAGG_INCOMPLETE_HOURS_MAX_SHARE", "2"),
        ("TEMPAGG_PLAUSIBLE_MIN_CELSIUS", "cold"), ("TEMPAGG_PLAUSIBLE_MIN_CELSIUS", "nan"),
        ("TEMPAGG_PLAUSIBLE_MAX_CELSIUS", "inf"), ("TEMPAGG_PLAUSIBLE_MIN_CELSIUS", "60"),
        ("REDIS_PORT", "0"), ("REDIS_PORT", "65536"), ("REDIS_PORT", "redis"), ("REDIS_TLS", "perhaps"),
        ("REDIS_TIMEOUT_SECONDS", "0"), ("REDIS_TIMEOUT_SECONDS", "inf"), ("REDIS_RETRIES", "-1"),
        ("TEMPAGG_QUEUE", "two words"), ("TEMPAGG_QUEUE", "{a}"), ("TEMPAGG_LEASE_SECONDS", "0"),
        ("TEMPAGG_LEASE_SECONDS", "inf"), ("TEMPAGG_LEASE_SECONDS", "nan"), ("TEMPAGG_MAX_ATTEMPTS", "0"),
        ("TEMPAGG_BACKOFF_SECONDS", "601"), ("TEMPAGG_BACKOFF_MAX_SECONDS", "1"), ("TEMPAGG_PARALLELISM", "0"),
        ("TEMPAGG_FILES_PER_RUN_MAX", "0"), ("TEMPAGG_SENSOR_INTERVAL_SECONDS", "0"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str):
    (line,) = _error(monkeypatch, **{variable: value})
    assert variable in line


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch):
    lines = _error(monkeypatch, TEMPAGG_THREADS="0", TEMPAGG_HOUR_MIN_COVERAGE="7", TEMPAGG_PARALLELISM="x")
    assert [line.partition(":")[0] for line in lines] == [
        "TEMPAGG_THREADS", "TEMPAGG_HOUR_MIN_COVERAGE", "TEMPAGG_PARALLELISM",
    ]  # fmt: skip


def test_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch):
    (line,) = _error(monkeypatch, TEMPAGG_STORE="azure")
    assert "AZURE_STORAGE_ACCOUNT" in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AZURE_STORAGE_ACCOUNT", "weather"),
        ("AZURE_STORAGE_BLOB_ENDPOINT", "https://weather.blob.core.windows.net"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=weather;AccountKey=a2V5"),
        ("AZURE_CREDENTIALS_PATH", "/run/credentials.json"),
    ],
)
def test_an_account_alone_chooses_azure_and_can_be_overruled(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
):
    monkeypatch.setenv(variable, value)
    assert load_settings().store.is_azure
    monkeypatch.setenv("TEMPAGG_STORE", "local")
    assert not load_settings().store.is_azure


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    secrets = [
        "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "REDIS_PASSWORD",
        "REDIS_URL",
    ]  # fmt: skip
    for variable in secrets:
        monkeypatch.setenv(variable, SECRET)
    loaded = load_settings()
    assert SECRET not in f"{loaded!r} {loaded} {loaded.model_dump_json()}"
    assert SECRET not in "\n".join(_error(monkeypatch, TEMPAGG_THREADS=SECRET, TEMPAGG_STORE=SECRET))


@pytest.mark.parametrize("name", ["abc", "a-b", "a1-b2-c3", "x" * 63])
def test_container_names_as_azure_has_them(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("TEMPAGG_CONTAINER", name)
    assert load_settings().store.container == name


def test_the_older_name_of_the_key_serves_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_KEY", SECRET)
    assert load_settings().store.account_key == SecretStr(SECRET)


def test_settings_are_read_once_for_a_process(monkeypatch: pytest.MonkeyPatch):
    first = settings()
    monkeypatch.setenv("TEMPAGG_THREADS", "9")
    assert settings() is first


def test_every_setting_has_a_variable_of_its_own_and_a_meaning():
    assert len(set(_variables())) == len(_variables())
    for section in SECTIONS:
        for name, field in section.model_fields.items():
            assert field.validation_alias, name
            assert field.description, name


def test_a_home_directory_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from tempagg_pipeline.core.object_store import open_store

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TEMPAGG_LOCAL_ROOT", "~/store")
    assert open_store(load_settings().store).url == (tmp_path / "store" / "temperaturefiles").as_uri()


@pytest.mark.parametrize("name", ["container", "HOST", "URL", "NAME", "account", "threads"])
def test_a_variable_that_is_merely_named_like_a_field_is_no_setting(name: str, monkeypatch: pytest.MonkeyPatch):
    expected = load_settings()
    monkeypatch.setenv(name, "7")
    assert load_settings() == expected
