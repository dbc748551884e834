"""What both lanes hand on: blocks of readings, and the rows that could not be read."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST_NUMBER = 1e100
"""No thermometer's; far beyond it the squares of a deviation overflow."""


class Readings(NamedTuple):
    """A block of n rows, in file order, as equally long arrays."""

    hour: NDArray[np.int64]
    """Hours since 1970-01-01 00:00."""
    minute: NDArray[np.uint8]
    """Minute of the hour, 0 to 59."""
    second: NDArray[np.uint8]
    """Second of the minute, 0 to 59."""
    celsius: NDArray[np.float64]
    """Temperature in degrees Celsius; NaN where the field is blank."""
    line: NDArray[np.int64]
    """Line in the object, from 1; where a row goes over several, its first."""

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Readings":
        """The rows that a mask or positions choose."""
        return Readings(self.hour[rows], self.minute[rows], self.second[rows], self.celsius[rows], self.line[rows])


class BadRow(NamedTuple):
    """A row that breaks the contract."""

    line: int
    """Line in the object, from 1."""
    reason: str
    """What was expected and the text found."""
