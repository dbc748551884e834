"""What is in the container: which locations, and whose hourly objects are missing or stale."""

import os
from pathlib import Path

from tempagg_pipeline.core.inventory import take_inventory
from tempagg_pipeline.core.object_store import ObjectStore
from tempagg_pipeline_tests.core.stores import azure_store, local_store
from tempagg_pipeline_tests.servers.azurite import Azurite


def _put(store: ObjectStore, *names: str) -> None:
    for name in names:
        store.replace(name, [name.encode()])


def _set_time(root: Path, name: str, seconds: float) -> None:
    os.utime(root / "temperaturefiles" / name, (seconds, seconds))


def test_locations_are_those_with_a_raw_object(tmp_path: Path):
    store = local_store(tmp_path)
    _put(store, "a.csv", "b.csv", "b_aggregated.csv", "orphan_aggregated.csv", "notes.txt", "folder/c.csv", ".d.csv")
    inventory = take_inventory(store)
    assert set(inventory.raw) == {"a", "b"}
    assert set(inventory.hourly) == {"b"}
    assert inventory.raw["a"] == store.head("a.csv")


def test_a_location_without_hourly_object_is_missing_and_stale(tmp_path: Path):
    store = local_store(tmp_path)
    _put(store, "a.csv", "b.csv", "b_aggregated.csv")
    assert take_inventory(store).missing == ["a"]
    assert take_inventory(store).stale == ["a"]


def test_an_hourly_object_older_than_its_raw_one_is_stale(tmp_path: Path):
    store = local_store(tmp_path)
    for name, raw, hourly in (("fresh", 100, 200), ("stale", 200, 100), ("together", 200, 200)):
        _put(store, f"{name}.csv", f"{name}_aggregated.csv")
        _set_time(tmp_path, f"{name}.csv", raw)
        _set_time(tmp_path, f"{name}_aggregated.csv", hourly)
    assert take_inventory(store).stale == ["stale", "together"]
    assert take_inventory(store).missing == []


def test_the_landing_place_goes_before_the_container(tmp_path: Path):
    store, landing = local_store(tmp_path), local_store(tmp_path, container="landing")
    _put(store, "a.csv", "a_aggregated.csv", "b.csv", "b_aggregated.csv")
    _put(landing, "a.csv", "c.csv", "c_aggregated.csv")
    inventory = take_inventory(store, landing)
    assert set(inventory.raw) == {"a", "b", "c"}
    assert inventory.raw["a"] == landing.head("a.csv")
    assert (inventory.missing, inventory.stale) == (["c"], ["a", "c"])


def test_an_hourly_object_whose_raw_one_is_in_the_landing_place_alone_is_known(tmp_path: Path):
    store, landing = local_store(tmp_path), local_store(tmp_path, container="landing")
    _put(landing, "a.csv")
    _put(store, "a_aggregated.csv")
    assert take_inventory(store, landing).missing == []


def test_staging_files_and_directories_of_a_local_store_are_no_locations(tmp_path: Path):
    store = local_store(tmp_path)
    _put(store, "a.csv")
    (tmp_path / "temperaturefiles" / "a.csv#1").write_bytes(b"half")
    (tmp_path / "temperaturefiles" / "b.csv.tmp").write_bytes(b"half")
    (tmp_path / "temperaturefiles" / "folder.csv").mkdir()
    assert set(take_inventory(store).raw) == {"a"}


def test_a_container_in_azure_is_listed_the_same(azurite_server: Azurite):
    store = azure_store(azurite_server)
    _put(store, "a.csv", "b.csv", "b_aggregated.csv", "Zürich 1.csv")
    inventory = take_inventory(store)
    assert (set(inventory.raw), inventory.missing) == ({"a", "b", "Zürich 1"}, ["Zürich 1", "a"])
    assert inventory.raw["a"] == store.head("a.csv")
