"""A Dagster instance of its own beside a store of its own, and asset runs in them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from tempagg_pipeline.core.bundled import bundled_samples
from tempagg_pipeline.core.locations import raw_name
from tempagg_pipeline.core.object_store import ObjectStore, open_store
from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.definitions import defs
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.partitions import PARTITIONS_NAME, register_locations
from tempagg_pipeline_tests.servers.dagster_ui import DagsterUi

SAMPLES = dict(bundled_samples())
HEADER = b"Datetime,Temperature\n"
GOOD = HEADER + b"2024-01-01 00:00:00,1.5\n2024-01-01 00:01:00,2.5\n"
BAD = HEADER + b"2024-01-01 00:00:00,1.5\n2024-01-01 00:01:00,warm\n"
BAD_REASON = "line 3: Temperature: expected a number or nothing, found 'warm'"

_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class Workplace:
    """Where the tests' asset runs happen.

    Attributes:
        instance: keeps the history.
        env: settings under which the runs see their store.
    """

    instance: dg.DagsterInstance
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> ObjectStore:
        """The container."""
        with configured(self.env):
            return open_store(settings().store)

    def put(self, **content: bytes) -> None:
        """Upload the raw object of each location named, and register the locations."""
        store = self.store
        for location, data in content.items():
            store.replace(raw_name(location), [data])
        register_locations(self.instance, content)

    def run(
        self,
        *locations: str,
        assets: Sequence[dg.AssetKey] = (RAW, HOURLY),
        env: Mapping[str, str] | None = None,
        definitions: dg.Definitions = defs,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Materialize partitions in one run; several must have been registered one after the other."""
        job = definitions.resolve_implicit_global_asset_job_def()
        given = dict(tags or {})
        partition_key: str | None = locations[0]
        if len(locations) > 1:
            given |= {_RANGE_START: locations[0], _RANGE_END: locations[-1]}
            partition_key = None
        with configured({**self.env, **(env or {})}):
            return job.execute_in_process(
                instance=self.instance,
                asset_selection=list(assets),
                partition_key=partition_key,
                tags=given,
                raise_on_error=False,
            )

    def materialization(self, asset: dg.AssetKey, location: str) -> dg.AssetMaterialization:
        """The latest materialization of a partition."""
        found = self.record(asset, location).asset_materialization
        assert found is not None
        return found

    def record(self, asset: dg.AssetKey, location: str) -> dg.EventLogRecord:
        """The latest materialization of a partition, as it is stored."""
        records = self.materializations(asset, location)
        assert records, f"{asset.to_user_string()} of {location} was never materialized"
        return records[0]

    def materializations(self, asset: dg.AssetKey, location: str) -> Sequence[dg.EventLogRecord]:
        """All materializations of a partition, latest first."""
        wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[location])
        return self.instance.fetch_materializations(wanted, limit=100).records

    def evaluations(self, location: str) -> Mapping[str, dg.AssetCheckEvaluation]:
        """The latest evaluation of each check of a location, by check name."""
        storage = self.instance.event_log_storage
        found: dict[str, dg.AssetCheckEvaluation] = {}
        for key in temperature_check_keys():
            for record in reversed(storage.get_asset_check_execution_history(key, limit=1000)):
                evaluation = record.evaluation
                if isinstance(evaluation, dg.AssetCheckEvaluation) and evaluation.partition == location:
                    found[key.name] = evaluation
        return found


def temperature_check_keys() -> set[dg.AssetCheckKey]:
    """Keys of the checks of raw and hourly temperatures."""
    return {key for key in defs.resolve_asset_graph().asset_check_keys if key.asset_key in (RAW, HOURLY)}


@contextmanager
def configured(env: Mapping[str, str]) -> Iterator[None]:
    """Have the pipeline read these environment variables while the context is open."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield
    settings.cache_clear()


@contextmanager
def workplace_of(ui: DagsterUi) -> Iterator[Workplace]:
    """The history and the store of a running UI."""
    with dg.DagsterInstance.from_config(str(ui.home)) as instance:
        yield Workplace(instance, ui.env)


@contextmanager
def sqlite_workplace(directory: Path, **env: str) -> Iterator[Workplace]:
    """History in SQLite files and objects in a directory, both below the one given."""
    home = directory / "dagster_home"
    home.mkdir(exist_ok=True)
    with dg.instance_for_test(temp_dir=str(home), set_dagster_home=False) as instance:
        yield Workplace(instance, {"TEMPAGG_LOCAL_ROOT": str(directory / "store")} | env)


@contextmanager
def postgres_workplace(directory: Path, url: str, **env: str) -> Iterator[Workplace]:
    """History in a PostgreSQL database and objects in a directory."""
    storage = {"storage": {"postgres": {"postgres_url": url}}}
    home = directory / "dagster_home"
    home.mkdir(exist_ok=True)
    with dg.instance_for_test(overrides=storage, temp_dir=str(home), set_dagster_home=False) as instance:
        yield Workplace(instance, {"TEMPAGG_LOCAL_ROOT": str(directory / "store")} | env)


def registered(instance: dg.DagsterInstance) -> Sequence[str]:
    """Locations that are registered."""
    return instance.get_dynamic_partitions(PARTITIONS_NAME)


def minutes(start: datetime, *celsius: str) -> bytes:
    """A raw CSV with one row a minute."""
    first = int(start.timestamp())
    rows = (f"{datetime.fromtimestamp(first + 60 * at)},{text}\n" for at, text in enumerate(celsius))
    return HEADER + "".join(rows).encode()
