"""Fixtures that tests of every floor share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tempagg_pipeline.core import settings as settings_module
from tempagg_pipeline_tests.servers.azurite import Azurite, azurite
from tempagg_pipeline_tests.servers.dagster_ui import DagsterUi, dagster_ui
from tempagg_pipeline_tests.servers.postgres import Postgres, postgres

_SETTINGS_PREFIXES = ("TEMPAGG_", "AZURE_", "REDIS_", "DAGSTER_")


_MANY_PROCESSES = frozenset({"kubernetes", "fan_out", "ui", "test_graphql.py", "test_warm_runs.py"})
"""Rooms whose tests drive daemons, web servers, pods or a browser."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on Kubernetes come last: what is quick to fail fails first, and the cluster may still be building.

    Tests on many real processes are tried again, and the report says so: a busy machine may keep a process from its
    limit once, a fault of ours shows each time.
    """
    items.sort(key=lambda item: "kubernetes" in item.path.parts)
    for item in items:
        if _MANY_PROCESSES.intersection(item.path.parts):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(_SETTINGS_PREFIXES) and name != "TEMPAGG_TESTS_REQUIRE_ALL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("TEMPAGG_SENSOR_WAIT_SECONDS", "0")
    settings_module.settings.cache_clear()
    yield
    settings_module.settings.cache_clear()


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One Azurite for the whole test run; tests take a container of their own."""
    with azurite(Path(tmp_path_factory.mktemp("azurite"))) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One PostgreSQL for the whole test run; tests take a database of their own."""
    with postgres(Path(tmp_path_factory.mktemp("postgres"))) as server:
        yield server


@pytest.fixture(scope="session")
def dagster_ui_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUi]:
    """One Dagster UI with its daemon for the whole test run; tests take locations of their own."""
    with dagster_ui(Path(tmp_path_factory.mktemp("dagster_ui"))) as server:
        yield server
