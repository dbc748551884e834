"""Reads rows one by one, in any CSV form the contract allows, and words what is wrong with a row.

Allowed beyond the canonical form: quoted fields, extra columns, another order of columns, blanks around a field,
exponents and a plus sign.
"""

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import numpy as np

from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.minute_csv.readings import LARGEST_NUMBER, BadRow, Readings

DATETIME, TEMPERATURE = "Datetime", "Temperature"
ROWS_PER_BLOCK = 8192

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d):([0-5]\d):([0-5]\d)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1)
_SHOWN_CHARACTERS = 60


class Layout(NamedTuple):
    """Where the two columns stand in a row."""

    datetime: int
    temperature: int
    columns: int

    @property
    def is_canonical(self) -> bool:
        """Whether the columns are just ``Datetime,Temperature``."""
        return self == (0, 1, 2)


class _Row(NamedTuple):
    """One row that could be read; fields as in ``Readings``."""

    line: int
    hour: int
    minute: int
    second: int
    celsius: float


class _RowError(ValueError):
    """Why one row can't be read."""


def read_header(text: str, source: str, line: int) -> Layout:
    """Find the two columns in the header line.

    Raises:
        InvalidInputError: a column is missing or there twice.
    """
    try:
        names = [name.strip() for name in next(csv.reader([text], strict=True), [])]
    except csv.Error:
        names = [text]
    if names.count(DATETIME) != 1 or names.count(TEMPERATURE) != 1:
        found = "lines ended by CR alone" if "\r" in text else shown(",".join(names))
        expected = f"expected a header with the columns {DATETIME} and {TEMPERATURE}"
        raise InvalidInputError(source, f"{expected}, found {found}", line)
    return Layout(names.index(DATETIME), names.index(TEMPERATURE), len(names))


def read_rows(
    lines: Iterable[bytes], first_line: int, layout: Layout, source: str, on_bad_row: Callable[[BadRow], None]
) -> Iterator[Readings]:
    """Read lines row by row and yield what is good in blocks.

    Args:
        lines: without their line ends; quoted fields may span several.
        first_line: line number of the first of them in the object.
        layout: where the columns stand.
        source: the object's name, for errors.
        on_bad_row: called for each row that can't be read; may raise to stop.

    Raises:
        InvalidInputError: a quote does not close, so that rows can't be told apart.
    """
    good = _rows(_NumberedText(lines, first_line, on_bad_row), layout, source, on_bad_row)
    while block := list(islice(good, ROWS_PER_BLOCK)):
        yield _readings(block)


def _rows(
    lines: "_NumberedText", layout: Layout, source: str, on_bad_row: Callable[[BadRow], None]
) -> Iterator["_Row"]:
    parse = _RowParser(layout)
    rows = csv.reader(lines, strict=True)
    while True:
        start = lines.next_number
        try:
            fields = next(rows, None)
            if fields is None:
                return
            row = None if _is_blank(fields) else parse(fields, start)
        except _RowError as error:
            on_bad_row(BadRow(start, str(error)))
        except csv.Error as error:
            if lines.next_number - start > 1:
                raise InvalidInputError(source, f"expected a quoted field that ends, found: {error}", start) from None
            on_bad_row(BadRow(start, f"expected well-formed CSV, found: {error}"))
        else:
            if row is not None:
                yield row


def _is_blank(fields: Sequence[str]) -> bool:
    return not fields or (len(fields) == 1 and not fields[0].strip())


class _NumberedText:
    """Decodes lines, and knows the number of the line that comes next."""

    def __init__(self, lines: Iterable[bytes], first_line: int, on_bad_row: Callable[[BadRow], None]) -> None:
        self._lines = lines
        self._on_bad_row = on_bad_row
        self.next_number = first_line

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.next_number += 1
            try:
                yield line.decode().removesuffix("\r")
            except UnicodeDecodeError as error:
                found = f"byte 0x{line[error.start]:02x} in {shown(line.decode(errors='backslashreplace'))}"
                self._on_bad_row(BadRow(self.next_number - 1, f"expected UTF-8 text, found {found}"))
                yield ""


def shown(text: str) -> str:
    """The text as an error message shows it: quoted, with control characters escaped, and not too long."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


class _RowParser:
    """Parses rows; remembers the last hour, since neighbours mostly share it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._hour_text = ""
        self._hour = 0

    def __call__(self, row: Sequence[str], line: int) -> _Row:
        if len(row) != self._layout.columns:
            raise _RowError(f"expected {self._layout.columns} fields, found {len(row)}: {shown(','.join(row))}")
        text = row[self._layout.datetime].strip()
        match = _TIMESTAMP.fullmatch(text)
        if not match:
            raise _RowError(f"{DATETIME}: expected YYYY-MM-DD HH:MM:SS, found {shown(text)}")
        hour_text, minute, second = match.groups()
        if hour_text != self._hour_text:
            self._hour, self._hour_text = _parse_hour(hour_text), hour_text
        return _Row(line, self._hour, int(minute), int(second), _parse_celsius(row[self._layout.temperature].strip()))


def _parse_hour(text: str) -> int:
    try:
        elapsed = datetime.strptime(text, "%Y-%m-%d %H") - _EPOCH
    except ValueError:
        raise _RowError(f"{DATETIME}: expected a date and hour that exist, found {shown(text)}") from None
    return elapsed.days * 24 + elapsed.seconds // 3600


def _parse_celsius(text: str) -> float:
    if not text:
        return math.nan
    if not _NUMBER.fullmatch(text):
        raise _RowError(f"{TEMPERATURE}: expected a number or nothing, found {shown(text)}")
    celsius = float(text)
    if abs(celsius) > LARGEST_NUMBER:
        raise _RowError(f"{TEMPERATURE}: expected a number within {LARGEST_NUMBER:g}, found {shown(text)}")
    return celsius


def _readings(rows: Sequence[_Row]) -> Readings:
    line, hour, minute, second, celsius = zip(*rows, strict=True)
    return Readings(
        np.array(hour, np.int64),
        np.array(minute, np.uint8),
        np.array(second, np.uint8),
        np.array(celsius, np.float64),
        np.array(line, np.int64),
    )
