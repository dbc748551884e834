"""The generator of sample files."""

from datetime import datetime

import numpy as np

from tempagg_pipeline.core.aggregation import Aggregation, aggregate
from tempagg_pipeline.core.sample import SampleSpec, sample_csv


def _content(spec: SampleSpec) -> bytes:
    return b"".join(sample_csv(spec))


def _aggregated(spec: SampleSpec) -> Aggregation:
    return aggregate(sample_csv(spec), "sample.csv")


def test_a_seed_gives_the_same_file_and_another_seed_another():
    spec = SampleSpec(seed=7, days=10, gap_share=0.1, outages=2)
    assert _content(spec) == _content(spec)
    assert _content(spec) != _content(SampleSpec(seed=8, days=10, gap_share=0.1, outages=2))


def test_a_file_has_one_row_a_minute_from_its_start():
    profile = _aggregated(SampleSpec(start=datetime(2023, 5, 6, 7, 8), days=15.5)).profile
    assert (profile.rows, profile.readings, profile.duplicates) == (15.5 * 1440, 15.5 * 1440, 0)
    assert (profile.first, profile.last) == (datetime(2023, 5, 6, 7, 8), datetime(2023, 5, 21, 19, 7))


def test_gaps_are_missing_rows_and_blank_temperatures_half_each():
    profile = _aggregated(SampleSpec(seed=1, days=14, gap_share=0.2)).profile
    minutes = 14 * 1440
    assert abs((minutes - profile.rows) / minutes - 0.1) < 0.01
    assert abs((profile.rows - profile.readings) / minutes - 0.1) < 0.01


def test_outages_leave_hours_without_rows_and_the_rest_as_it_was():
    whole, broken = SampleSpec(seed=2, days=5), SampleSpec(seed=2, days=5, outages=2)
    assert np.any(_aggregated(broken).table.count == 0)
    assert set(_content(broken).splitlines()) < set(_content(whole).splitlines())


def test_temperatures_are_plausible_and_warmer_in_summer():
    table = _aggregated(SampleSpec(seed=3, start=datetime(2024, 1, 1), days=366)).table
    assert -40 < table.min.min() < table.max.max() < 50
    assert table.mean[182 * 24 : 212 * 24].mean() > table.mean[: 30 * 24].mean() + 5


def test_a_file_of_no_days_is_the_header_alone():
    assert _content(SampleSpec(days=0)) == b"Datetime,Temperature\n"
