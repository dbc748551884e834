"""Judges raw and hourly data: pure functions from what was found to findings, each saying where."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tempagg_pipeline.core.hourly import MINUTES_PER_HOUR, HourlyTable
from tempagg_pipeline.core.processing import Processed
from tempagg_pipeline.core.settings import QualitySettings

HOURS_NAMED = 5


@dataclass(frozen=True)
class Finding:
    """Outcome of one judgement.

    Attributes:
        passed: whether all is well.
        summary: one line for people.
        facts: figures behind it, and where.
    """

    passed: bool
    summary: str
    facts: dict[str, int | float | str] = field(default_factory=dict)


Judgement = Callable[[Processed, QualitySettings], Finding]


def readable(processed: Processed, rules: QualitySettings) -> Finding:
    """Every row could be read, and the file does not end within a line."""
    profile = processed.aggregation.profile
    facts: dict[str, int | float | str] = {"unreadable rows": profile.bad_rows, "rows": profile.rows}
    if profile.bad_rows:
        share = profile.bad_rows / (profile.rows + profile.bad_rows)
        facts["share"] = round(share, 6)
        facts["where"] = "; ".join(f"line {bad.line}: {bad.reason}" for bad in profile.bad_row_examples)
        return Finding(False, f"{profile.bad_rows:,} unreadable rows ({share:.2%}) were skipped", facts)
    if not profile.last_line_ended:
        facts["where"] = "the last line"
        return Finding(False, "the last line has no line end: its number may be cut off", facts)
    return Finding(True, f"all {profile.rows:,} rows could be read", facts)


def no_duplicate_timestamps(processed: Processed, rules: QualitySettings) -> Finding:
    """No minute has more than one row."""
    profile, table = processed.aggregation.profile, processed.aggregation.table
    if not profile.duplicates:
        return Finding(True, "every minute has one row at most", {"duplicates": 0})
    facts = {"duplicates": profile.duplicates} | _where(table, table.duplicates > 0)
    return Finding(False, f"{profile.duplicates:,} rows share their minute with another", facts)


def complete(processed: Processed, rules: QualitySettings) -> Finding:
    """Enough minutes of every hour have a reading."""
    profile, table = processed.aggregation.profile, processed.aggregation.table
    scarce = table.minutes_present < rules.hour_min_coverage * MINUTES_PER_HOUR
    count = int(np.count_nonzero(scarce))
    share = count / len(table)
    facts: dict[str, int | float | str] = {
        "coverage": round(profile.coverage, 6),
        "incomplete hours": count,
        "hours": len(table),
        "least minutes in an hour": int(table.minutes_present.min()),
        "threshold": rules.hour_min_coverage,
    }
    summary = f"{count:,} of {len(table):,} hours have less than {rules.hour_min_coverage:.0%} of their minutes"
    return Finding(share <= rules.incomplete_hours_max_share, summary, facts | _where(table, scarce))


def plausible(processed: Processed, rules: QualitySettings) -> Finding:
    """All temperatures lie within what can be measured on Earth, or within the limits set."""
    table = processed.aggregation.table
    odd = (table.min < rules.plausible_min_celsius) | (table.max > rules.plausible_max_celsius)
    count = int(np.count_nonzero(odd))
    limits = f"{rules.plausible_min_celsius:g} to {rules.plausible_max_celsius:g} °C"
    facts: dict[str, int | float | str] = {"implausible hours": count, "limits": limits}
    if (table.count > 0).any():
        facts |= {"lowest": float(np.nanmin(table.min)), "highest": float(np.nanmax(table.max))}
    return Finding(count == 0, f"{count:,} hours have temperatures outside {limits}", facts | _where(table, odd))


def statistics_in_order(processed: Processed, rules: QualitySettings) -> Finding:
    """Minimum <= mean <= maximum and a deviation that is not negative, in every hour with readings."""
    table = processed.aggregation.table
    wrong = (table.mean < table.min) | (table.mean > table.max) | (table.std < 0)
    wrong |= (table.count > 0) & np.isnan(table.mean)
    count = int(np.count_nonzero(wrong))
    return Finding(count == 0, f"{count:,} hours have statistics out of order", {"hours": count} | _where(table, wrong))


def hours_contiguous(processed: Processed, rules: QualitySettings) -> Finding:
    """The table has every hour from the first timestamp's to the last's, once each, and every reading is in it."""
    profile, table = processed.aggregation.profile, processed.aggregation.table
    expected = int((np.datetime64(profile.last, "h") - np.datetime64(profile.first, "h")).astype(int)) + 1
    counted = int(table.count.sum())
    passed = len(table) == expected and counted == profile.readings
    summary = f"{len(table):,} of {expected:,} hours, {counted:,} of {profile.readings:,} readings"
    return Finding(passed, summary, {"hours": len(table), "expected hours": expected, "readings": counted})


def _where(table: HourlyTable, hours: NDArray[np.bool_]) -> dict[str, int | float | str]:
    """The first few hours that a mask names."""
    found = np.flatnonzero(hours)
    if not len(found):
        return {}
    named = ", ".join(str(hour).replace("T", " ") + ":00" for hour in table.hours[found[:HOURS_NAMED]])
    more = len(found) - HOURS_NAMED
    return {"where": f"{named} and {more:,} more" if more > 0 else named}
