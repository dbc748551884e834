"""Many locations at a time: one's failure is its own."""

import threading
from collections.abc import Iterator

import pytest

from tempagg_pipeline.core.batch import Failed, Unchanged, process_all
from tempagg_pipeline.core.bundled import bundled_samples
from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.locations import InvalidNameError
from tempagg_pipeline.core.object_store import ObjectNotFoundError, StoreUnavailableError
from tempagg_pipeline.core.processing import LocationProcessor, Processed
from tempagg_pipeline_tests.core.stores import local_store


def test_a_bad_location_fails_alone(tmp_path):
    store = local_store(tmp_path)
    for name, content in bundled_samples():
        store.replace(name, [content])
    store.replace("bad.csv", [b"rubbish"])
    locations = ["temperature1", "bad", "temperature2", "nowhere"]
    outcomes = list(process_all(locations, LocationProcessor(store).process, threads=2))
    assert {outcome.location: type(outcome) for outcome in outcomes} == {
        "temperature1": Processed, "temperature2": Processed, "bad": Failed, "nowhere": Failed,
    }  # fmt: skip


def test_what_has_not_changed_is_told_apart():
    assert list(process_all(["a"], lambda location: None, threads=1)) == [Unchanged("a")]


def test_locations_are_taken_as_they_are_needed():
    taken: list[int] = []

    def locations() -> Iterator[str]:
        for number in range(1000):
            taken.append(number)
            yield str(number)

    outcomes = process_all(locations(), lambda location: None, threads=2)
    next(outcomes)
    assert len(taken) <= 5
    assert len(list(outcomes)) == 999


def test_several_are_processed_at_the_same_time():
    met = threading.Barrier(3, timeout=30)

    def process(location: str) -> None:
        met.wait()

    assert len(list(process_all("abc", process, threads=3))) == 3


def test_a_consumer_that_stops_early_stops_the_rest():
    started: list[str] = []
    outcomes = process_all(map(str, range(100)), started.append, threads=1)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert len(started) <= 3


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (InvalidInputError("a.csv", "expected better"), True),
        (InvalidNameError("no"), True),
        (ObjectNotFoundError("gone"), True),
        (StoreUnavailableError("later"), False),
        (MemoryError(), False),
    ],
)
def test_only_what_another_attempt_can_mend_is_worth_one(error: Exception, permanent: bool):
    assert Failed("a", error).is_permanent is permanent


def test_reasons_are_one_line_and_name_the_location():
    assert Failed("a", InvalidInputError("a.csv", "expected b", 3)).reason == "a.csv, line 3: expected b"
    assert Failed("a", KeyError("b")).reason == "a: KeyError: 'b'"
