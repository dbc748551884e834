"""What is judged good or bad, and where the findings point."""

from dataclasses import replace

import numpy as np
import pytest

from tempagg_pipeline.core import quality
from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.object_store import ObjectInfo
from tempagg_pipeline.core.processing import Processed
from tempagg_pipeline.core.quality import Finding, Judgement
from tempagg_pipeline.core.settings import QualitySettings

HEADER = b"Datetime,Temperature\n"
RULES = QualitySettings.model_validate({})
JUDGEMENTS = [
    quality.readable, quality.no_duplicate_timestamps, quality.complete, quality.plausible,
    quality.statistics_in_order, quality.hours_contiguous,
]  # fmt: skip


def _rows(hour: int, minutes: int, celsius: str = "20") -> bytes:
    return b"".join(b"2024-01-01 %02d:%02d:00,%s\n" % (hour, minute, celsius.encode()) for minute in range(minutes))


def _processed(*rows: bytes, bad_rows_max_share: float = 0.0) -> Processed:
    aggregation = aggregate([HEADER, *rows], "a.csv", bad_rows_max_share)
    raw = ObjectInfo("a.csv", aggregation.profile.bytes, '"1"', None)
    return Processed("a", aggregation, raw.etag, raw, None, 0.1)


def _with_table(processed: Processed, **columns: object) -> Processed:
    table = replace(processed.aggregation.table, **columns)  # type: ignore[arg-type]
    return replace(processed, aggregation=replace(processed.aggregation, table=table))


def _rules(**values: float) -> QualitySettings:
    return QualitySettings.model_validate(values)


@pytest.mark.parametrize("judge", JUDGEMENTS)
def test_two_full_hours_pass_every_judgement(judge: Judgement):
    finding = judge(_processed(_rows(0, 60), _rows(1, 60)), RULES)
    assert finding.passed
    assert "where" not in finding.facts


@pytest.mark.parametrize("judge", JUDGEMENTS)
def test_a_single_blank_row_can_be_judged(judge: Judgement):
    assert isinstance(judge(_processed(b"2024-01-01 00:00:00,\n"), RULES), Finding)


def test_skipped_rows_are_told_with_their_lines():
    finding = quality.readable(_processed(_rows(0, 2), b"oops\n", _rows(1, 1), bad_rows_max_share=0.5), RULES)
    assert not finding.passed
    assert (finding.facts["unreadable rows"], finding.facts["share"]) == (1, 0.25)
    assert finding.facts["where"] == "line 4: expected 2 fields, found 1: 'oops'"


def test_a_last_line_without_line_end_is_told():
    finding = quality.readable(_processed(b"2024-01-01 00:00:00,1"), RULES)
    assert not finding.passed
    assert finding.facts["where"] == "the last line"


@pytest.mark.parametrize("celsius", ["20", ""])
def test_duplicates_are_told_with_their_hours(celsius: str):
    finding = quality.no_duplicate_timestamps(_processed(_rows(0, 60), _rows(3, 2, celsius), _rows(3, 1)), RULES)
    assert not finding.passed
    assert finding.facts == {"duplicates": 1, "where": "2024-01-01 03:00"}


def test_hours_with_too_few_minutes_are_told():
    finding = quality.complete(_processed(_rows(0, 60), _rows(1, 39), _rows(3, 40)), RULES)
    assert not finding.passed
    assert finding.facts["where"] == "2024-01-01 01:00, 2024-01-01 02:00"
    assert (finding.facts["incomplete hours"], finding.facts["hours"]) == (2, 4)
    assert finding.facts["least minutes in an hour"] == 0
    assert finding.facts["coverage"] == pytest.approx(139 / 220, abs=1e-6)


def test_two_readings_of_one_minute_are_one_minute_of_coverage():
    assert not quality.complete(_processed(_rows(0, 30), _rows(0, 30)), RULES).passed


@pytest.mark.parametrize(("share", "passed"), [(0.0, False), (0.49, False), (0.5, True)])
def test_a_share_of_incomplete_hours_may_be_allowed(share: float, passed: bool):
    processed = _processed(_rows(0, 60), _rows(1, 10))
    assert quality.complete(processed, _rules(incomplete_hours_max_share=share)).passed is passed


@pytest.mark.parametrize(("coverage", "passed"), [(0.5, True), (0.51, False), (0.0, True)])
def test_the_coverage_asked_of_an_hour_can_be_set(coverage: float, passed: bool):
    assert quality.complete(_processed(_rows(0, 30)), _rules(hour_min_coverage=coverage)).passed is passed


@pytest.mark.parametrize(("celsius", "passed"), [("-90", True), ("60", True), ("-90.1", False), ("9999", False)])
def test_temperatures_beyond_the_limits_are_told(celsius: str, passed: bool):
    finding = quality.plausible(_processed(_rows(0, 60), _rows(7, 1, celsius)), RULES)
    assert finding.passed is passed
    assert finding.facts.get("where") == (None if passed else "2024-01-01 07:00")
    assert float(celsius) in (finding.facts["lowest"], finding.facts["highest"])


def test_the_plausible_range_can_be_set():
    processed = _processed(_rows(0, 60, "20"))
    assert not quality.plausible(processed, _rules(plausible_max_celsius=19.9)).passed


def test_statistics_out_of_order_are_told():
    processed = _processed(_rows(0, 60), _rows(1, 60))
    for columns in ({"mean": [19.0, 20.0]}, {"max": [19.0, 20.0]}, {"std": [-1.0, 0.0]}, {"mean": [np.nan, 20.0]}):
        arrays = {name: np.array(values) for name, values in columns.items()}
        finding = quality.statistics_in_order(_with_table(processed, **arrays), RULES)
        assert not finding.passed
        assert finding.facts["where"] == "2024-01-01 00:00"


def test_a_table_without_all_hours_or_readings_is_told():
    processed = _processed(_rows(0, 60), _rows(1, 60))
    assert not quality.hours_contiguous(_with_table(processed, count=np.array([60, 59], np.int32)), RULES).passed
    assert not quality.hours_contiguous(_with_table(processed, count=np.array([120], np.int32)), RULES).passed


def test_only_the_first_few_hours_are_named():
    finding = quality.complete(_processed(_rows(0, 1), _rows(8, 1)), RULES)
    assert finding.facts["where"] == (
        "2024-01-01 00:00, 2024-01-01 01:00, 2024-01-01 02:00, 2024-01-01 03:00, 2024-01-01 04:00 and 4 more"
    )
