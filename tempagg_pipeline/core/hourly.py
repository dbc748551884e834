"""Hourly statistics of readings that arrive in blocks, in any order; and the table they make.

Each hour keeps count, mean and sum of squared deviations, joined block by block with the pairwise update of
Chan, Golub and LeVeque (1979), which stays exact to rounding where naive sums of squares cancel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tempagg_pipeline.core.minute_csv.readings import Readings

COLUMNS = ("Datetime", "mean", "std", "min", "max", "count")
MINUTES_PER_HOUR = 60
LONGEST_SPAN_HOURS = 200 * 366 * 24
"""No station has minute data over 200 years: a longer span is a mistyped year, and would make a huge empty table."""

_HOURS_PER_PIECE = 4096


class SpanError(ValueError):
    """First and last timestamp lie too far apart to be true.

    Attributes:
        line: of the row farthest from its neighbours.
    """

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True)
class HourlyTable:
    """Statistics of every hour from the first to the last, as arrays of one length; hours without data are kept.

    Temperatures are in degrees Celsius, NaN where an hour has no reading (``std``: fewer than two).
    """

    first_hour: int
    """Hours since 1970-01-01 00:00."""
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    """Sample standard deviation (n - 1)."""
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    count: NDArray[np.int32]
    """Readings in the hour."""
    minutes_present: NDArray[np.uint8]
    """Minutes of the hour with at least one reading, 0 to 60. Not part of the CSV."""
    duplicates: NDArray[np.int32]
    """Rows of the hour whose minute another row already has. Not part of the CSV."""

    def __len__(self) -> int:
        return len(self.count)

    @property
    def hours(self) -> NDArray[np.datetime64]:
        """Start of each hour."""
        return (self.first_hour + np.arange(len(self))).astype("M8[h]")

    def csv_pieces(self) -> Iterator[bytes]:
        """The table as CSV, header first, in pieces of some thousand hours.

        Numbers are written in the shortest form that reads back as the same double; missing statistics are blank.
        """
        yield (",".join(COLUMNS) + "\n").encode()
        numbers = (self.mean, self.std, self.min, self.max, self.count)
        for start in range(0, len(self), _HOURS_PER_PIECE):
            part = slice(start, start + _HOURS_PER_PIECE)
            stamps = np.datetime_as_string(self.hours[part].astype("M8[s]")).tolist()
            columns = [map(repr, column[part].tolist()) for column in numbers]
            rows = "\n".join(map(",".join, zip(stamps, *columns, strict=True)))
            yield (rows.replace("T", " ").replace("nan", "") + "\n").encode()


class _Runs(NamedTuple):
    """Statistics of runs of readings that share an hour; hours strictly ascending."""

    hour: NDArray[np.int64]
    readings: NDArray[np.int64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    minutes: NDArray[np.uint64]


class HourlyAccumulator:
    """Takes blocks of readings; memory grows with the hours spanned, not with the rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.blanks = 0
        self.first: datetime | None = None
        """Earliest timestamp, blank temperature or not."""
        self.last: datetime | None = None
        self._base = 0
        self._count = np.zeros(0, np.int32)
        self._mean = np.zeros(0)
        self._squares = np.zeros(0)
        self._min = np.zeros(0)
        self._max = np.zeros(0)
        self._minutes = np.zeros(0, np.uint64)
        """One bit a minute with a reading."""
        self._stamped = np.zeros(0, np.uint64)
        """One bit a minute with a row, be its temperature blank."""
        self._rows = np.zeros(0, np.int32)

    def add(self, block: Readings) -> None:
        """Take a block in.

        Raises:
            SpanError: the timestamps span more than 200 years.
        """
        if not len(block.hour):
            return
        self.rows += len(block.hour)
        self._note_span(block)
        block = _by_hour(block)
        hours, starts = _run_starts(block.hour)
        at = hours - self._base
        self._stamped[at] |= np.bitwise_or.reduceat(_minute_bits(block), starts)
        self._rows[at] += np.diff(starts, append=len(block.hour))
        blank = np.isnan(block.celsius)
        blanks = int(np.count_nonzero(blank))
        if blanks:
            self.blanks += blanks
            block = block.take(~blank)
        if len(block.hour):
            self._merge(_statistics(block))

    def finish(self) -> HourlyTable:
        """The hours from the first to the last timestamp seen.

        The table takes over the accumulator's arrays, so many years are not held twice; nothing may be added any more.

        Raises:
            ValueError: nothing was added.
        """
        if self.first is None or self.last is None:
            raise ValueError("no readings were added")
        first = _hour_of(self.first)
        part = slice(first - self._base, _hour_of(self.last) - self._base + 1)
        count, mean, low, high = self._count[part], self._mean[part], self._min[part], self._max[part]
        std = self._squares[part]
        np.divide(std, count - 1, out=std, where=count > 1)
        np.sqrt(std, out=std)
        std[count < 2] = np.nan
        # Rounding can carry the mean of nearly equal readings an ulp beyond them.
        np.clip(mean, low, high, out=mean)
        for column in (mean, low, high):
            column[count == 0] = np.nan
        duplicates = self._rows[part]
        duplicates -= np.bitwise_count(self._stamped[part])
        return HourlyTable(first, mean, std, low, high, count, np.bitwise_count(self._minutes[part]), duplicates)

    def _note_span(self, block: Readings) -> None:
        seconds = (block.hour * 60 + block.minute) * 60 + block.second
        first, last = _datetime(int(seconds.min())), _datetime(int(seconds.max()))
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        low, high = _hour_of(self.first), _hour_of(self.last)
        if high - low > LONGEST_SPAN_HOURS:
            outlier = np.abs(seconds - np.median(seconds)).argmax()
            reason = f"expected timestamps within 200 years of each other, found {self.first} and {self.last}"
            raise SpanError(reason, int(block.line[outlier]))
        self._make_room(low, high)

    def _make_room(self, low: int, high: int) -> None:
        """Have a place for every hour from low to high; grow by an eighth more, so that growing stays rare."""
        size = len(self._count)
        if size and self._base <= low and high < self._base + size:
            return
        spare = (high - low) // 8 + 24
        if not size:
            self._base, before, after = low, 0, high - low + 1
        else:
            before = self._base - low + spare if low < self._base else 0
            after = high - (self._base + size) + 1 + spare if high >= self._base + size else 0
            self._base -= before
        for name, empty in (
            ("_count", 0), ("_mean", 0), ("_squares", 0), ("_min", np.inf), ("_max", -np.inf), ("_minutes", 0),
            ("_stamped", 0), ("_rows", 0),
        ):  # fmt: skip
            setattr(self, name, np.pad(getattr(self, name), (before, after), constant_values=empty))

    def _merge(self, runs: _Runs) -> None:
        at = runs.hour - self._base
        have, more = self._count[at], runs.readings
        total = have + more
        delta = runs.mean - self._mean[at]
        self._mean[at] += delta * (more / total)
        self._squares[at] += runs.squares + delta * delta * (have * more / total)
        self._min[at] = np.minimum(self._min[at], runs.min)
        self._max[at] = np.maximum(self._max[at], runs.max)
        self._count[at] = total
        self._minutes[at] |= runs.minutes


def _by_hour(block: Readings) -> Readings:
    """The block sorted by hour, so that each hour is one run; most blocks are already."""
    if np.all(block.hour[1:] >= block.hour[:-1]):
        return block
    return block.take(np.argsort(block.hour, kind="stable"))


def _run_starts(hour: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts = np.concatenate(([0], np.flatnonzero(hour[1:] != hour[:-1]) + 1))
    return hour[starts], starts


def _minute_bits(block: Readings) -> NDArray[np.uint64]:
    return np.uint64(1) << block.minute.astype(np.uint64)


def _statistics(block: Readings) -> _Runs:
    hours, starts = _run_starts(block.hour)
    count = np.diff(starts, append=len(block.hour))
    celsius = block.celsius
    mean = np.add.reduceat(celsius, starts) / count
    deviation = celsius - np.repeat(mean, count)
    return _Runs(
        hours,
        count,
        mean,
        np.add.reduceat(deviation * deviation, starts),
        np.minimum.reduceat(celsius, starts),
        np.maximum.reduceat(celsius, starts),
        np.bitwise_or.reduceat(_minute_bits(block), starts),
    )


def _datetime(seconds: int) -> datetime:
    return np.datetime64(seconds, "s").item()


def _hour_of(stamp: datetime) -> int:
    return int(np.datetime64(stamp, "h").astype(np.int64))
