"""Location names and object names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tempagg_pipeline.core.locations import (
    InvalidNameError,
    check_location,
    hourly_name,
    is_raw_name,
    location_of,
    raw_name,
)


def test_names_of_a_location():
    assert (raw_name("temperature1"), hourly_name("temperature1")) == (
        "temperature1.csv",
        "temperature1_aggregated.csv",
    )


@given(st.from_regex(r"\w[\w .()+@=~-]{0,40}", fullmatch=True))
def test_a_location_is_found_again_in_its_raw_name(location: str):
    try:
        check_location(location)
    except InvalidNameError:
        return
    assert location_of(raw_name(location)) == location
    assert not is_raw_name(hourly_name(location))


@pytest.mark.parametrize(
    "name",
    [
        "temperature1_aggregated.csv", "temperature1.txt", "temperature1", "temperature1.CSV", ".csv",
        "_aggregated.csv", "a/b.csv", "../a.csv", ".hidden.csv", "-a.csv", "a...b.csv", "a\n.csv", "a\0.csv", "a,b.csv",
        "a|b.csv", "a%20b.csv", "a.csv#1", "a_aggregated.csv#1", "\udcff.csv", "x" * 201 + ".csv", "é" * 101 + ".csv",
    ],
)  # fmt: skip
def test_a_name_that_is_no_raw_object(name: str):
    assert not is_raw_name(name)
    with pytest.raises(InvalidNameError):
        location_of(name)


@pytest.mark.parametrize(
    "location", ["temperature1", "Zürich (Fluntern)", "a b", "x" * 200, "_", "a.csv", "7@home=~+-"]
)
def test_what_can_be_a_location(location: str):
    check_location(location)


def test_the_error_shows_a_long_name_only_in_part():
    with pytest.raises(InvalidNameError) as caught:
        location_of("x" * 10_000 + ".csv")
    assert len(str(caught.value)) < 500
