"""Raw CSV files for property-based tests: readings in any order, written in any form that the contract allows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st

Row = tuple[datetime, str]
"""Timestamp and temperature text; blank: missing."""

_TURNING_POINTS = [
    datetime(2023, 12, 31, 22, 50),  # new year
    datetime(2024, 2, 28, 23, 30),  # into a leap day
    datetime(2024, 2, 29, 23, 30),
    datetime(1900, 2, 28, 23, 30),  # no leap year
    datetime(2000, 2, 28, 23, 30),  # a leap year
    datetime(2024, 3, 31, 0, 30),  # daylight saving begins in Europe
    datetime(2024, 11, 3, 0, 30),  # and ends in America: timestamps have no zone, no hour may vanish or double
    datetime(1969, 12, 31, 23, 0),
]

measured = st.integers(-6000, 6000).map(lambda hundredths: f"{hundredths / 100:g}")
any_decimal = st.from_regex(r"-?([0-9]{1,12}(\.[0-9]{0,9})?|\.[0-9]{1,9})", fullmatch=True).filter(
    lambda text: abs(float(text)) < 1e6
)
any_number = st.floats(-1e6, 1e6, allow_subnormal=False).map(repr) | any_decimal.map(
    lambda text: f"+{text.lstrip('-')}"
)
temperatures = st.one_of(measured, measured, any_decimal, st.just(""))


@st.composite
def rows(draw: st.DrawFn, temperature: st.SearchStrategy[str] = temperatures, min_size: int = 1) -> list[Row]:
    """Rows within some days of each other: close together or sparse, any order, duplicates, seconds mostly zero."""
    start = draw(st.sampled_from(_TURNING_POINTS) | st.datetimes(datetime(1950, 1, 1), datetime(2060, 1, 1)))
    start = start.replace(second=0, microsecond=0)
    offset = st.integers(0, 200) | st.integers(0, 8000)
    second = st.just(0) | st.integers(0, 59)
    drawn = draw(st.lists(st.tuples(offset, second, temperature), min_size=min_size, max_size=60))
    made = [(start + timedelta(minutes=minute, seconds=second), text) for minute, second, text in drawn]
    return sorted(made) if draw(st.booleans()) else made


@dataclass(frozen=True)
class Form:
    """A way to write a file down."""

    line_end: str = "\n"
    bom: bool = False
    quoted: bool = False
    swapped: bool = False
    extra_columns: bool = False
    blank_lines: int = 0
    last_line_ended: bool = True

    def write(self, readings: list[Row]) -> bytes:
        """The file's bytes."""
        lines = [self._line("Datetime", "Temperature", "Remark, of the station")]
        lines += [self._line(str(stamp), text, f'"{text}", é') for stamp, text in readings]
        text = self.line_end.join(lines)
        if self.last_line_ended:
            text += self.line_end * (1 + self.blank_lines)
        return (b"\xef\xbb\xbf" if self.bom else b"") + text.encode()

    def _line(self, stamp: str, temperature: str, remark: str) -> str:
        fields = [temperature, stamp] if self.swapped else [stamp, temperature]
        if self.quoted:
            fields = [f'"{field}"' for field in fields]
        if self.extra_columns:
            fields.append('"' + remark.replace('"', '""') + '"')
        return ",".join(fields)


CANONICAL = Form()
forms = st.builds(
    Form,
    line_end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    quoted=st.booleans(),
    swapped=st.booleans(),
    extra_columns=st.booleans(),
    blank_lines=st.integers(0, 3),
    last_line_ended=st.booleans(),
)


def cut(content: bytes, positions: list[int]) -> list[bytes]:
    """The content in pieces, cut at these positions (modulo its length)."""
    edges = sorted({position % (len(content) + 1) for position in positions} | {0, len(content)})
    return [content[start:stop] for start, stop in pairwise(edges)]
