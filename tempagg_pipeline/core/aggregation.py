"""One raw object's bytes in, its hourly table and profile out: the pure function at the heart of the pipeline."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.hourly import HourlyAccumulator, HourlyTable, SpanError
from tempagg_pipeline.core.minute_csv import BadRow, MinuteCsvReader

BAD_ROWS_REMEMBERED = 10


@dataclass(frozen=True)
class RawProfile:
    """What one pass over a raw object found."""

    bytes: int
    sha256: str
    """Hex digest of the bytes: the identity of the content, wherever it is stored."""
    rows: int
    """Data rows read, blank temperatures included, bad rows not."""
    readings: int
    """Rows with a temperature."""
    first: datetime
    last: datetime
    minutes_present: int
    """Different minutes with a reading."""
    duplicates: int
    """Rows whose minute another row already has."""
    bad_rows: int
    """Rows that could not be read and were skipped, as the policy allows."""
    bad_row_examples: tuple[BadRow, ...]
    """The first few of them."""
    last_line_ended: bool
    """False: the last line has no line end, so the object may be cut off within its last number."""

    @property
    def minutes_spanned(self) -> int:
        """Calendar minutes from the first to the last timestamp, both counted."""
        return (self.last.replace(second=0) - self.first.replace(second=0)) // timedelta(minutes=1) + 1

    @property
    def missing_minutes(self) -> int:
        """Minutes from the first to the last timestamp without a reading."""
        return self.minutes_spanned - self.minutes_present

    @property
    def coverage(self) -> float:
        """Share of the minutes from the first to the last timestamp that have a reading, 0 to 1."""
        return self.minutes_present / self.minutes_spanned


@dataclass(frozen=True)
class Aggregation:
    """Hourly table of one raw object, and the profile of that object."""

    table: HourlyTable
    profile: RawProfile


def aggregate(chunks: Iterable[bytes], source: str, bad_rows_max_share: float = 0.0) -> Aggregation:
    """Aggregate 1-minute temperatures to hourly statistics, in one streaming pass.

    Args:
        chunks: the bytes of a CSV with the columns ``Datetime`` (``YYYY-MM-DD HH:MM:SS``) and ``Temperature`` (degrees
            Celsius, blank: missing), in pieces of any size.
        source: the object's name, for errors.
        bad_rows_max_share: share of the rows (0 to 1) that may be unreadable and are then skipped.

    Raises:
        InvalidInputError: the object breaks the contract; names object, line, what was expected and found.
    """
    digest = _Digest(chunks)
    bad_rows = _BadRows(source, may_skip=bad_rows_max_share > 0)
    reader = MinuteCsvReader(source, bad_rows.note)
    hours = HourlyAccumulator()
    try:
        for block in reader.read(digest):
            hours.add(block)
    except SpanError as error:
        raise InvalidInputError(source, str(error), error.line) from None
    bad_rows.judge(hours.rows, bad_rows_max_share)
    if hours.first is None or hours.last is None:
        found = f"{bad_rows.count:,} unreadable ones" if bad_rows.count else "none"
        raise InvalidInputError(source, f"expected rows below the header, found {found}")
    table = hours.finish()
    profile = RawProfile(
        bytes=digest.size,
        sha256=digest.hex(),
        rows=hours.rows,
        readings=hours.rows - hours.blanks,
        first=hours.first,
        last=hours.last,
        minutes_present=int(table.minutes_present.sum()),
        duplicates=int(table.duplicates.sum()),
        bad_rows=bad_rows.count,
        bad_row_examples=tuple(bad_rows.examples),
        last_line_ended=reader.last_line_ended,
    )
    return Aggregation(table, profile)


class _Digest:
    """Passes chunks on while it counts and hashes them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    def hex(self) -> str:
        return self._hash.hexdigest()


class _BadRows:
    """Stops at the first bad row, or counts them where some may be skipped."""

    def __init__(self, source: str, may_skip: bool) -> None:
        self._source = source
        self._may_skip = may_skip
        self.count = 0
        self.examples: list[BadRow] = []

    def note(self, bad: BadRow) -> None:
        if not self._may_skip:
            raise InvalidInputError(self._source, bad.reason, bad.line)
        self.count += 1
        if len(self.examples) < BAD_ROWS_REMEMBERED:
            self.examples.append(bad)

    def judge(self, good_rows: int, max_share: float) -> None:
        total = good_rows + self.count
        if total and self.count / total > max_share:
            first = self.examples[0]
            reason = (
                f"{self.count:,} of {total:,} rows are unreadable, more than the {max_share:.3%} that may be;"
                f" the first: {first.reason}"
            )
            raise InvalidInputError(self._source, reason, first.line)
