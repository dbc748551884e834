"""The one way from a raw object to its hourly object: what is written, what is never altered, what is recognised."""

from pathlib import Path

import pytest

from tempagg_pipeline.core.bundled import bundled_samples
from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.object_store import ObjectNotFoundError, ObjectStore, OpenObject, open_landing, open_store
from tempagg_pipeline.core.processing import LocationProcessor, ObjectChangedError, Processed, Recorded
from tempagg_pipeline.core.settings import SettingsError, StoreSettings
from tempagg_pipeline_tests.core.stores import azure_settings, azure_store, local_settings, local_store, new_container
from tempagg_pipeline_tests.servers.azurite import Azurite
from tempagg_pipeline_tests.servers.processes import wait_until

LOCATION, RAW, HOURLY = "temperature1", "temperature1.csv", "temperature1_aggregated.csv"
SAMPLES = dict(bundled_samples())
CONTENT, OTHER = SAMPLES["temperature1.csv"], SAMPLES["temperature2.csv"]
BAD = b"Datetime,Temperature\noops\n"


def _settings(kind: str, request: pytest.FixtureRequest, directory: Path) -> StoreSettings:
    """A store and a landing place of one kind."""
    if kind == "directory":
        (directory / "landing").mkdir()
        return local_settings(directory, landing=str(directory / "landing"))
    server = request.getfixturevalue("azurite_server")
    return azure_settings(server, landing=f"az://{new_container(server)}")


@pytest.fixture(params=["directory", "azurite"])
def landed(request: pytest.FixtureRequest, tmp_path: Path) -> LocationProcessor:
    """A processor with a landing place."""
    settings = _settings(request.param, request, tmp_path)
    return LocationProcessor(open_store(settings), open_landing(settings))


@pytest.fixture(params=["directory", "azurite"])
def processor(request: pytest.FixtureRequest, tmp_path: Path) -> LocationProcessor:
    """A processor of objects that are uploaded straight into the container."""
    settings = _settings(request.param, request, tmp_path)
    return LocationProcessor(open_store(settings))


def _process(processor: LocationProcessor, ingest: bool = True, write_hourly: bool = True) -> Processed:
    processed = processor.process(LOCATION, ingest=ingest, write_hourly=write_hourly)
    assert processed is not None
    return processed


def _recorded(processed: Processed) -> Recorded:
    assert processed.hourly is not None
    return Recorded(processed.source_etag, processed.hourly.etag)


def _landing(processor: LocationProcessor) -> ObjectStore:
    assert processor.landing is not None
    return processor.landing


def _hourly_of(processed: Processed) -> bytes:
    return b"".join(processed.aggregation.table.csv_pieces())


# --- straight into the container


def test_the_hourly_object_is_written_and_the_raw_one_left_alone(processor: LocationProcessor):
    before = processor.store.replace(RAW, [CONTENT])
    processed = _process(processor)
    assert processor.store.read(HOURLY) == _hourly_of(processed)
    assert processor.store.head(RAW).etag == before.etag == processed.raw.etag == processed.source_etag
    assert processed.hourly is not None
    assert processor.store.head(HOURLY).etag == processed.hourly.etag
    assert processed.seconds > 0


def test_the_raw_object_can_be_validated_alone(processor: LocationProcessor):
    processor.store.replace(RAW, [CONTENT])
    processed = _process(processor, write_hourly=False)
    assert processed.hourly is None
    assert processor.store.find(HOURLY) is None
    assert processed.aggregation.profile.rows == 10080


def test_bad_input_alters_neither_the_raw_object_nor_the_good_output(processor: LocationProcessor):
    processor.store.replace(RAW, [CONTENT])
    _process(processor)
    good = processor.store.head(HOURLY)
    spoilt = processor.store.replace(RAW, [BAD])
    with pytest.raises(InvalidInputError, match=r"temperature1\.csv, line 2: "):
        processor.process(LOCATION)
    assert processor.store.head(HOURLY) == good
    assert processor.store.head(RAW).etag == spoilt.etag


def test_a_location_without_raw_object_is_named(processor: LocationProcessor):
    with pytest.raises(ObjectNotFoundError, match=r"temperature1\.csv: there is no such object in "):
        processor.process(LOCATION)


def test_bad_rows_may_be_skipped_as_the_policy_says(tmp_path: Path):
    store = local_store(tmp_path)
    store.replace(RAW, [CONTENT, b"oops\n"])
    processed = _process(LocationProcessor(store, bad_rows_max_share=0.001))
    assert processed.aggregation.profile.bad_rows == 1


# --- unchanged


def test_what_has_not_changed_is_not_processed_again(processor: LocationProcessor):
    processor.store.replace(RAW, [CONTENT])
    recorded = _recorded(_process(processor))
    hourly = processor.store.head(HOURLY)
    assert processor.process(LOCATION, unless_recorded=recorded) is None
    assert processor.store.head(HOURLY) == hourly


def test_a_changed_raw_object_is_processed_again(processor: LocationProcessor):
    processor.store.replace(RAW, [CONTENT])
    recorded = _recorded(_process(processor))
    processor.store.replace(RAW, [OTHER])
    again = processor.process(LOCATION, unless_recorded=recorded)
    assert again is not None
    assert processor.store.read(HOURLY) == _hourly_of(again)


@pytest.mark.parametrize("deleted", [True, False])
def test_an_hourly_object_lost_or_overwritten_is_made_again(tmp_path: Path, deleted: bool):
    processor = LocationProcessor(local_store(tmp_path))
    processor.store.replace(RAW, [CONTENT])
    processed = _process(processor)
    path = tmp_path / "temperaturefiles" / HOURLY
    path.unlink() if deleted else path.write_bytes(b"by hand")
    assert processor.process(LOCATION, unless_recorded=_recorded(processed)) is not None
    assert processor.store.read(HOURLY) == _hourly_of(processed)


def test_an_unchanged_location_costs_two_small_requests(azurite_server: Azurite):
    container = new_container(azurite_server)
    processor = LocationProcessor(azure_store(azurite_server, container=container))
    processor.store.replace(RAW, [CONTENT])
    recorded = _recorded(_process(processor))
    before = _requests(azurite_server, container, 3)
    assert processor.process(LOCATION, unless_recorded=recorded) is None
    assert _requests(azurite_server, container, 5) == [*before, f"GET {RAW} 304", f"HEAD {HOURLY} 200"]


def test_a_location_costs_one_read_and_one_write(azurite_server: Azurite):
    container = new_container(azurite_server)
    processor = LocationProcessor(azure_store(azurite_server, container=container))
    processor.store.replace(RAW, [CONTENT])
    _process(processor)
    expected = [f"PUT {RAW} 201", f"GET {RAW} 200", f"PUT {HOURLY} 201"]
    assert _requests(azurite_server, container, 3) == expected


def _requests(server: Azurite, container: str, expected: int) -> list[str]:
    """All requests for objects of a container; the log may lag behind the answers."""
    wait_until(lambda: len(server.requests(container)) >= expected, f"{expected} requests in {server.log}")
    return server.requests(container)


# --- from a landing place


def test_a_raw_object_is_taken_over_from_the_landing_place_as_it_is(landed: LocationProcessor):
    left = _landing(landed).replace(RAW, [CONTENT])
    processed = _process(landed)
    assert landed.store.read(RAW) == CONTENT
    assert landed.store.read(HOURLY) == _hourly_of(processed)
    assert landed.store.head(RAW).etag == processed.raw.etag
    assert (processed.source_etag, _landing(landed).head(RAW).etag) == (left.etag, left.etag)


def test_bad_input_in_the_landing_place_is_not_taken_over(landed: LocationProcessor):
    _landing(landed).replace(RAW, [CONTENT])
    _process(landed)
    raw, hourly = landed.store.head(RAW), landed.store.head(HOURLY)
    _landing(landed).replace(RAW, [BAD])
    with pytest.raises(InvalidInputError):
        landed.process(LOCATION)
    assert (landed.store.head(RAW), landed.store.head(HOURLY)) == (raw, hourly)
    assert _landing(landed).read(RAW) == BAD


def test_what_has_not_changed_in_the_landing_place_is_recognised(landed: LocationProcessor):
    _landing(landed).replace(RAW, [CONTENT])
    recorded = _recorded(_process(landed))
    assert landed.process(LOCATION, unless_recorded=recorded) is None
    _landing(landed).replace(RAW, [OTHER])
    assert landed.process(LOCATION, unless_recorded=recorded) is not None
    assert landed.store.read(RAW) == OTHER


def test_an_object_that_left_the_landing_place_is_read_from_the_container(landed: LocationProcessor):
    landed.store.replace(RAW, [CONTENT])
    assert _process(landed).source_etag == landed.store.head(RAW).etag


def test_the_landing_place_is_left_out_where_nothing_is_to_be_ingested(landed: LocationProcessor):
    landed.store.replace(RAW, [CONTENT])
    _landing(landed).replace(RAW, [OTHER])
    _process(landed, ingest=False)
    assert landed.store.read(RAW) == CONTENT


class _Restless(ObjectStore):
    """A landing place whose producer writes again each time that someone has begun to read."""

    def __init__(self, inner: ObjectStore, contents: list[bytes]) -> None:
        super().__init__(inner._store, inner.url)
        self._contents = contents

    def open(self, name: str, unless_etag: str | None = None) -> OpenObject | None:
        opened = super().open(name, unless_etag)
        if self._contents:
            self.replace(name, [self._contents.pop(0)])
        return opened


def test_an_object_that_changes_while_it_is_read_is_taken_over_in_its_last_version(tmp_path: Path):
    landing = _Restless(local_store(tmp_path, container="landing"), [OTHER])
    landing.replace(RAW, [CONTENT])
    processor = LocationProcessor(local_store(tmp_path), landing)
    processed = _process(processor)
    assert processor.store.read(RAW) == OTHER
    assert processor.store.read(HOURLY) == _hourly_of(processed)
    assert processed.aggregation.profile.bytes == len(OTHER)
    assert processed.source_etag == landing.head(RAW).etag


def test_an_object_that_turns_bad_while_it_is_read_is_not_taken_over(tmp_path: Path):
    landing = _Restless(local_store(tmp_path, container="landing"), [BAD])
    landing.replace(RAW, [CONTENT])
    processor = LocationProcessor(local_store(tmp_path), landing)
    with pytest.raises(InvalidInputError):
        processor.process(LOCATION)
    assert list(processor.store.list()) == []


def test_an_object_that_never_comes_to_rest_is_given_up_for_now(tmp_path: Path):
    landing = _Restless(local_store(tmp_path, container="landing"), [CONTENT, OTHER] * 10)
    landing.replace(RAW, [CONTENT])
    with pytest.raises(ObjectChangedError, match="changed while it was read"):
        LocationProcessor(local_store(tmp_path), landing).process(LOCATION)


# --- which landing place


def test_there_is_no_landing_place_unless_one_is_set(tmp_path: Path):
    assert open_landing(local_settings(tmp_path)) is None


def test_a_landing_directory_must_be_there(tmp_path: Path):
    with pytest.raises(SettingsError, match="TEMPAGG_LANDING: expected a directory or az://container, found /nowhere"):
        open_landing(local_settings(tmp_path, landing="/nowhere"))


def test_the_container_can_not_be_its_own_landing_place(tmp_path: Path, azurite_server: Azurite):
    (tmp_path / "temperaturefiles").mkdir()
    itself = str(tmp_path / "." / "temperaturefiles")
    with pytest.raises(SettingsError, match="expected another place than the container"):
        open_landing(local_settings(tmp_path, landing=itself))
    with pytest.raises(SettingsError, match="expected another place than the container"):
        open_landing(azure_settings(azurite_server, container="weather", landing="az://weather/"))


def test_a_landing_directory_may_go_with_an_azure_container(tmp_path: Path, azurite_server: Azurite):
    settings = azure_settings(azurite_server, landing=str(tmp_path))
    processor = LocationProcessor(open_store(settings), open_landing(settings))
    (tmp_path / RAW).write_bytes(CONTENT)
    _process(processor)
    assert processor.store.read(RAW) == CONTENT
