"""Locations and the names of their objects: ``temperature1`` <-> ``temperature1.csv``, ``temperature1_aggregated.csv``.

A location is also a partition key, so its characters are those that object stores, URLs and Dagster all take as they
are. An ``…_aggregated.csv`` is an output and never names a location.
"""

import re

RAW_SUFFIX = ".csv"
HOURLY_SUFFIX = "_aggregated.csv"

LONGEST_LOCATION_BYTES = 200
"""A file name has 255 bytes at most, and the suffix and a temporary one must fit too."""

_LOCATION = re.compile(r"\w[\w .()+@=~-]*")


class InvalidNameError(ValueError):
    """A file name that can't be a location's raw object."""


def raw_name(location: str) -> str:
    """Object name of a location's raw CSV."""
    return location + RAW_SUFFIX


def hourly_name(location: str) -> str:
    """Object name of a location's hourly CSV."""
    return location + HOURLY_SUFFIX


def location_of(name: str) -> str:
    """The location whose raw object has this name.

    Raises:
        InvalidNameError: the name is no raw object's.
    """
    if name.endswith(HOURLY_SUFFIX):
        raise InvalidNameError(f"{name!r} is an output; expected the raw file it was made from")
    location = name.removesuffix(RAW_SUFFIX)
    if location == name:
        raise InvalidNameError(f"expected a file name that ends in {RAW_SUFFIX}, found {name[:200]!r}")
    check_location(location)
    return location


def check_location(location: str) -> None:
    """Check that the text can be a location.

    Raises:
        InvalidNameError: it has characters or a form that a store or Dagster would not take.
    """
    # Dagster keeps "..." for ranges of partitions.
    well_formed = _LOCATION.fullmatch(location) and "..." not in location
    if not well_formed or len(location.encode()) > LONGEST_LOCATION_BYTES or raw_name(location).endswith(HOURLY_SUFFIX):
        raise InvalidNameError(
            f"expected a location of letters, digits, spaces and _.-()+@=~, at most {LONGEST_LOCATION_BYTES} bytes,"
            " that begins with a letter,"
            f" digit or _ and does not end in _aggregated; found {location[:200]!r}"
        )


def is_raw_name(name: str) -> bool:
    """Whether an object of this name is a location's raw CSV."""
    try:
        location_of(name)
    except InvalidNameError:
        return False
    return True
