"""The CSV blob IO manager with assets of one's own: what it loads, what it stores, what it refuses."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.definitions import defs
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.assets import IO_MANAGER
from tempagg_pipeline.orchestration.io_manager import object_name
from tempagg_pipeline.orchestration.partitions import locations, locations_in_store
from tempagg_pipeline_tests.core.stores import new_container
from tempagg_pipeline_tests.orchestration.workplaces import GOOD, Workplace, configured, sqlite_workplace
from tempagg_pipeline_tests.servers.azurite import Azurite

HOURLY_CSV = b"".join(aggregate([GOOD], "").table.csv_pieces())


@pytest.fixture(scope="module", params=["local", "azure"])
def workplace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    env: dict[str, str] = {}
    if request.param == "azure":
        server: Azurite = request.getfixturevalue("azurite_server")
        env = server.env | {"TEMPAGG_CONTAINER": new_container(server)}
    with sqlite_workplace(tmp_path_factory.mktemp(f"io-{request.param}"), **env) as place:
        place.put(one=GOOD, two=GOOD)
        assert place.run("one", "two").success
        yield place


def run(workplace: Workplace, asset: dg.AssetsDefinition, *partitions: str) -> dg.ExecuteInProcessResult:
    """Materialize an asset of one's own beside the pipeline's."""
    return workplace.run(
        *partitions, assets=[asset.key], definitions=dg.Definitions.merge(defs, dg.Definitions([asset]))
    )


def loaded(workplace: Workplace, wanted: Any, *partitions: str, upstream: dg.AssetKey = HOURLY) -> Any:
    """What a downstream asset gets that annotates its input so."""
    seen: list[Any] = []

    def downstream(up) -> None:
        seen.append(up)

    downstream.__annotations__["up"] = wanted
    asset = dg.asset(
        name="downstream",
        ins={"up": dg.AssetIn(upstream, input_manager_key=IO_MANAGER)},
        partitions_def=locations,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )(downstream)
    result = run(workplace, asset, *partitions)
    if not result.success:
        raise AssertionError(error_of(result))
    return seen[0]


def error_of(result: dg.ExecuteInProcessResult) -> str:
    """Text of the step's error, its cause included."""
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return str(failure.error)


def test_one_partition_loads_as_bytes(workplace: Workplace):
    assert loaded(workplace, bytes, "one") == HOURLY_CSV


def test_one_partition_loads_as_text(workplace: Workplace):
    assert loaded(workplace, str, "one") == HOURLY_CSV.decode()


def test_one_partition_loads_as_a_frame_with_timestamps(workplace: Workplace):
    frame = loaded(workplace, pd.DataFrame, "one")

    assert list(frame.columns) == ["Datetime", "mean", "std", "min", "max", "count"]
    assert frame["Datetime"].tolist() == [pd.Timestamp("2024-01-01 00:00:00")]
    assert frame["mean"].tolist() == [2.0]


def test_the_raw_asset_loads_too(workplace: Workplace):
    assert loaded(workplace, bytes, "one", upstream=RAW) == GOOD


def test_several_partitions_load_as_a_dict(workplace: Workplace):
    assert loaded(workplace, dict[str, bytes], "one", "two") == {"one": HOURLY_CSV, "two": HOURLY_CSV}


def test_a_dict_of_one_partition_is_a_dict(workplace: Workplace):
    assert loaded(workplace, dict[str, str], "one") == {"one": HOURLY_CSV.decode()}


def test_frames_of_several_partitions_load_by_location(workplace: Workplace):
    frames = loaded(workplace, Mapping[str, pd.DataFrame], "one", "two")

    assert {location: len(frame) for location, frame in frames.items()} == {"one": 1, "two": 1}


def test_a_scalar_for_several_partitions_is_refused_with_the_way_out(workplace: Workplace):
    with pytest.raises(AssertionError, match=r"expected an input annotated dict\[str, …\] for 2 partitions"):
        loaded(workplace, bytes, "one", "two")


def test_a_type_that_csv_does_not_load_as_is_refused(workplace: Workplace):
    with pytest.raises(AssertionError, match=r"expected an input annotated bytes, str or pandas\.DataFrame"):
        loaded(workplace, int, "one")


def test_a_partition_without_an_object_is_named(workplace: Workplace):
    workplace.put(raw_only=GOOD)

    with pytest.raises(AssertionError, match=r"raw_only_aggregated.csv: there is no such object in"):
        loaded(workplace, bytes, "raw_only")


@pytest.mark.parametrize(
    "value",
    [b"a,b\n1,2\n", "a,b\n1,2\n", [b"a,b\n", b"1,2\n"], pd.DataFrame({"a": [1], "b": [2]})],
    ids=["bytes", "text", "pieces", "frame"],
)
def test_each_kind_of_value_is_stored_as_csv(workplace: Workplace, value: object):
    @dg.asset(io_manager_key=IO_MANAGER, partitions_def=locations)
    def own():
        return value

    assert run(workplace, own, "one").success

    assert workplace.store.read("own/one.csv") == b"a,b\n1,2\n"


def test_an_asset_without_partitions_is_stored_under_its_name(workplace: Workplace):
    @dg.asset(io_manager_key=IO_MANAGER, key_prefix=["reports"])
    def daily() -> str:
        return "a\n1\n"

    with configured(workplace.env):
        job = dg.Definitions.merge(defs, dg.Definitions([daily])).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=workplace.instance, asset_selection=[daily.key]).success

    assert workplace.store.read("reports/daily/daily.csv") == b"a\n1\n"


@dg.asset(io_manager_key=IO_MANAGER, partitions_def=locations, backfill_policy=dg.BackfillPolicy.single_run())
def by_location(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
    return {key: pd.DataFrame({"length": range(len(key))}) for key in context.partition_keys}


def test_a_mapping_is_stored_partition_by_partition_with_metadata_of_each(workplace: Workplace):
    assert run(workplace, by_location, "one", "two").success

    for location in ("one", "two"):
        metadata = workplace.materialization(by_location.key, location).metadata
        stored = workplace.store.head(f"by_location/{location}.csv")
        assert metadata["bytes"].value == stored.size
        assert metadata["etag"].value == stored.etag
        assert metadata["dagster/row_count"].value == 3
        assert metadata["dagster/uri"].value == workplace.store.url_of(f"by_location/{location}.csv")


def test_metadata_of_one_partition_tells_the_object(workplace: Workplace):
    assert run(workplace, by_location, "two").success

    metadata = workplace.materialization(by_location.key, "two").metadata
    assert metadata["etag"].value == workplace.store.head("by_location/two.csv").etag


def test_one_value_for_several_partitions_is_refused(workplace: Workplace):
    @dg.asset(io_manager_key=IO_MANAGER, partitions_def=locations, backfill_policy=dg.BackfillPolicy.single_run())
    def single() -> bytes:
        return b"a\n"

    result = run(workplace, single, "one", "two")

    assert "expected a mapping by partition for 2 partitions, found bytes" in error_of(result)


def test_values_for_other_partitions_are_refused(workplace: Workplace):
    @dg.asset(io_manager_key=IO_MANAGER, partitions_def=locations)
    def stray() -> dict[str, bytes]:
        return {"one": b"a\n", "elsewhere": b"a\n"}

    result = run(workplace, stray, "one")

    assert "expected values for partitions of this run only, found ['elsewhere']" in error_of(result)
    assert workplace.store.find("stray/elsewhere.csv") is None


def test_a_value_that_is_no_csv_is_refused(workplace: Workplace):
    @dg.asset(io_manager_key=IO_MANAGER, partitions_def=locations)
    def number() -> int:
        return 7

    result = run(workplace, number, "one")

    assert "expected bytes, text or a DataFrame to store as CSV, found int" in error_of(result)
    assert workplace.store.find("number/one.csv") is None


def test_objects_of_other_assets_are_no_locations(workplace: Workplace):
    workplace.store.replace(object_name(dg.AssetKey("own"), "one"), [b"a\n"])

    with configured(workplace.env):
        assert all(not name.startswith("own") for name in locations_in_store())


def test_no_asset_shares_an_object_with_another():
    names = [
        object_name(key, partition)
        for key in (RAW, HOURLY, dg.AssetKey("own"), dg.AssetKey(["raw_temperature", "own"]))
        for partition in ("a", "own", "raw_temperature")
    ]
    assert len(set(names)) == len(names)
