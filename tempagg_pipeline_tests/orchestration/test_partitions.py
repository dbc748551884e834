"""Locations as partitions: found in the store, registered when asked for, many of them."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tempagg_pipeline.orchestration.partitions import (
    PARTITIONS_NAME,
    add_requests,
    locations,
    locations_in_store,
    natural,
    register_locations,
)
from tempagg_pipeline_tests.orchestration.workplaces import GOOD, Workplace, configured, registered, sqlite_workplace

MANY = 30_000


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    with sqlite_workplace(tmp_path) as place:
        yield place


def upload(workplace: Workplace, *names: str) -> None:
    """Put objects into the store, without a word to Dagster."""
    store = workplace.store
    for name in names:
        store.replace(name, [GOOD])


def is_known(workplace: Workplace, location: str) -> bool:
    with configured(workplace.env):
        return locations.has_partition_key(location, dynamic_partitions_store=workplace.instance)


def test_natural_order_counts():
    names = ["station10", "station2", "a", "station1", "station2b", "10", "9"]

    assert sorted(names, key=natural) == ["9", "10", "a", "station1", "station2", "station2b", "station10"]


def test_a_location_asked_for_is_looked_up_in_the_store(workplace: Workplace):
    upload(workplace, "temperature1.csv")

    assert is_known(workplace, "temperature1")
    assert registered(workplace.instance) == ["temperature1"]


def test_asking_for_one_registers_all_in_natural_order(workplace: Workplace):
    upload(workplace, "temperature10.csv", "temperature2.csv", "temperature1.csv")

    assert is_known(workplace, "temperature10")
    assert registered(workplace.instance) == ["temperature1", "temperature2", "temperature10"]


def test_a_location_in_the_landing_place_is_known(workplace: Workplace, tmp_path: Path):
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "landed.csv").write_bytes(GOOD)

    with configured({**workplace.env, "TEMPAGG_LANDING": str(landing)}):
        assert locations.has_partition_key("landed", dynamic_partitions_store=workplace.instance)


def test_a_location_that_is_nowhere_stays_unknown(workplace: Workplace):
    upload(workplace, "temperature1.csv")

    assert not is_known(workplace, "temperature9")


def test_a_registered_location_is_known_without_a_look_at_the_store(workplace: Workplace):
    register_locations(workplace.instance, ["gone"])

    with configured({"TEMPAGG_STORE": "azure", "AZURE_STORAGE_ACCOUNT": "unreachable"}):
        assert locations.has_partition_key("gone", dynamic_partitions_store=workplace.instance)


def test_outputs_folders_and_other_files_are_no_locations(workplace: Workplace):
    upload(workplace, "a.csv", "a_aggregated.csv", "own/b.csv", "readme.txt", "..csv")

    with configured(workplace.env):
        assert locations_in_store() == {"a"}


def test_registering_again_tells_only_what_is_new(workplace: Workplace):
    assert register_locations(workplace.instance, ["b", "a"]) == ["a", "b"]

    assert register_locations(workplace.instance, ["c", "a"]) == ["c"]


def test_tens_of_thousands_of_locations_can_be_registered(workplace: Workplace):
    names = [f"station{number}" for number in range(MANY)]
    shuffled = random.Random(0).sample(names, MANY)

    assert register_locations(workplace.instance, shuffled) == names
    assert workplace.instance.has_dynamic_partition(PARTITIONS_NAME, f"station{MANY - 1}")
    assert registered(workplace.instance) == names


def test_requests_of_a_sensor_hold_every_location_once_in_small_lots():
    names = [f"station{number}" for number in range(1_201)]

    lots = [request.partition_keys for request in add_requests(names)]

    assert [len(lot) for lot in lots] == [500, 500, 201]
    assert [name for lot in lots for name in lot] == names
