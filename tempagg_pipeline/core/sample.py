"""Makes raw CSV files for trials and benchmarks: plausible temperatures of any length, with gaps, from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

MINUTES_PER_DAY = 24 * 60
_ROWS_PER_PIECE = MINUTES_PER_DAY * 7
_YEAR_DAYS = 365.25
_COLDEST_DAY = 15
_OUTAGE_MINUTES = (60, 6 * 60)
_LOST = -1.0


@dataclass(frozen=True)
class SampleSpec:
    """What a sample file holds.

    Attributes:
        seed: the same seed gives the same file.
        start: first timestamp.
        days: length; rows are one a minute.
        gap_share: share of minutes (0 to 1) left out, as missing rows and as blank temperatures, half each.
        outages: stretches of one to six hours without any row, as when a station has no power.
    """

    seed: int = 0
    start: datetime = datetime(2024, 1, 1)
    days: float = 7
    gap_share: float = 0.0
    outages: int = 0


def sample_csv(spec: SampleSpec) -> Iterator[bytes]:
    """A raw CSV with a yearly and a daily wave, slow weather and sensor noise, in pieces of a week."""
    rng = np.random.default_rng(spec.seed)
    yield b"Datetime,Temperature\n"
    start = np.datetime64(spec.start, "s")
    start_day = start.astype(np.int64) / (60 * MINUTES_PER_DAY)
    climate, weather = rng.uniform(5, 18), 0.0
    total = round(spec.days * MINUTES_PER_DAY)
    outages = _outages(spec, total)
    for offset in range(0, total, _ROWS_PER_PIECE):
        minutes = np.arange(offset, min(offset + _ROWS_PER_PIECE, total))
        steps = weather + np.cumsum(rng.normal(0, 0.02, len(minutes)))
        weather = 0.9 * float(steps[-1])
        day = start_day + minutes / MINUTES_PER_DAY
        celsius = (
            climate
            - 9 * np.cos(2 * np.pi * (day - _COLDEST_DAY) / _YEAR_DAYS)
            - 4 * np.cos(2 * np.pi * (day - 0.1))
            + steps
            + rng.normal(0, 0.05, len(minutes))
        )
        chance = rng.random(len(minutes))
        for first, behind in outages:
            chance[(minutes >= first) & (minutes < behind)] = _LOST
        stamps = np.datetime_as_string(start + minutes.astype("m8[m]"))
        yield "".join(
            f"{stamp.replace('T', ' ')},{'' if draw < spec.gap_share else f'{value:.1f}'}\n"
            for stamp, value, draw in zip(stamps.tolist(), celsius.tolist(), chance.tolist(), strict=True)
            if draw >= spec.gap_share / 2
        ).encode()


def _outages(spec: SampleSpec, minutes: int) -> list[tuple[int, int]]:
    """First and behind-last minute of each outage; drawn apart, so that the temperatures stay the same."""
    rng = np.random.default_rng([spec.seed, spec.outages])
    starts, lengths = rng.integers(0, minutes, spec.outages), rng.integers(*_OUTAGE_MINUTES, spec.outages)
    return list(zip(starts.tolist(), (starts + lengths).tolist(), strict=True))
