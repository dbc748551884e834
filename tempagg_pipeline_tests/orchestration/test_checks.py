"""Each check on data that passes and on data that does not: verdict, severity, and where."""

from dataclasses import replace

import dagster as dg
import numpy as np
import pytest

from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.batch import Failed
from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.object_store import ObjectInfo
from tempagg_pipeline.core.processing import Processed
from tempagg_pipeline.core.settings import QualitySettings
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.checks import CHECKS, evaluate, evaluate_failure

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
HEADER = "Datetime,Temperature\n"


def hour(day: str, celsius: str = "10.0", minutes: int = 60) -> str:
    """Rows of the first minutes of an hour, such as ``2024-01-01 05``."""
    return "".join(f"{day}:{minute:02}:00,{celsius}\n" for minute in range(minutes))


GOOD = HEADER + hour("2024-01-01 00") + hour("2024-01-01 01", "11.5")


def processed(text: str, bad_rows_max_share: float = 0.0) -> Processed:
    """What processing such a raw object gives."""
    info = ObjectInfo("a.csv", len(text), '"1"', None)
    return Processed("a", aggregate([text.encode()], "a.csv", bad_rows_max_share), '"1"', info, info, 0.1)


def evaluation(name: str, done: Processed, **rules: float) -> dg.AssetCheckEvaluation:
    """The evaluation of one check."""
    settings = QualitySettings.model_validate(rules)
    made = [found for asset in (RAW, HOURLY) for found in evaluate(asset, done, settings, 7, "run")]
    return next(found for found in made if found.check_name == name)


def where(found: dg.AssetCheckEvaluation) -> str:
    return str(found.metadata["where"].value)


def test_good_data_passes_every_check():
    assert all(evaluation(check.name, processed(GOOD)).passed for check in CHECKS)


@pytest.mark.parametrize(
    ("name", "asset", "severity"),
    [
        ("readable", RAW, WARN),
        ("no_duplicate_timestamps", RAW, WARN),
        ("complete", HOURLY, WARN),
        ("plausible", HOURLY, ERROR),
        ("statistics_in_order", HOURLY, ERROR),
        ("hours_contiguous", HOURLY, ERROR),
    ],
)
def test_a_check_belongs_to_an_asset_and_has_a_severity(name: str, asset: dg.AssetKey, severity: object):
    found = evaluation(name, processed(GOOD))

    assert (found.asset_key, found.severity, found.partition) == (asset, severity, "a")


def test_every_check_has_a_description_for_its_page():
    assert all(check.spec().description for check in CHECKS)


def test_every_check_is_partitioned_by_location():
    names = {getattr(check.spec().partitions_def, "name", None) for check in CHECKS}

    assert names == {"location"}


def test_skipped_rows_are_named_by_line():
    found = evaluation("readable", processed(GOOD + "2024-01-01 02:00:00,warm\n", bad_rows_max_share=0.1))

    assert not found.passed
    assert where(found) == "line 122: Temperature: expected a number or nothing, found 'warm'"


def test_a_last_line_without_an_end_is_told():
    found = evaluation("readable", processed(GOOD.rstrip("\n")))

    assert not found.passed
    assert where(found) == "the last line"


def test_duplicates_are_placed_in_their_hour():
    found = evaluation("no_duplicate_timestamps", processed(GOOD + "2024-01-01 01:30:00,11\n"))

    assert not found.passed
    assert where(found) == "2024-01-01 01:00"


def test_a_sparse_hour_is_incomplete():
    found = evaluation("complete", processed(GOOD + hour("2024-01-01 02", minutes=39)))

    assert not found.passed
    assert where(found) == "2024-01-01 02:00"
    assert found.metadata["least minutes in an hour"].value == 39


def test_an_hour_at_the_threshold_is_complete():
    assert evaluation("complete", processed(GOOD + hour("2024-01-01 02", minutes=40))).passed


def test_an_hour_without_rows_is_incomplete():
    found = evaluation("complete", processed(GOOD + hour("2024-01-01 03")))

    assert not found.passed
    assert where(found) == "2024-01-01 02:00"


def test_some_incomplete_hours_may_be_allowed():
    done = processed(GOOD + hour("2024-01-01 02", minutes=10))

    assert evaluation("complete", done, incomplete_hours_max_share=0.34).passed


@pytest.mark.parametrize("celsius", ["60.1", "-90.1"])
def test_what_no_one_ever_measured_is_not_plausible(celsius: str):
    found = evaluation("plausible", processed(GOOD + f"2024-01-01 02:00:00,{celsius}\n"))

    assert not found.passed
    assert where(found) == "2024-01-01 02:00"


def test_limits_can_be_set():
    assert not evaluation("plausible", processed(GOOD), plausible_max_celsius=11.0).passed


def test_a_mean_beyond_the_maximum_is_out_of_order():
    done = processed(GOOD)
    table = replace(done.aggregation.table, mean=np.array([10.0, 12.0]))
    found = evaluation("statistics_in_order", replace(done, aggregation=replace(done.aggregation, table=table)))

    assert not found.passed
    assert where(found) == "2024-01-01 01:00"


def test_a_table_that_lacks_an_hour_is_not_contiguous():
    done = processed(GOOD)
    table = processed(HEADER + hour("2024-01-01 00")).aggregation.table
    found = evaluation("hours_contiguous", replace(done, aggregation=replace(done.aggregation, table=table)))

    assert not found.passed
    assert found.metadata["hours"].value == 1
    assert found.metadata["expected hours"].value == 2


def test_an_unreadable_file_fails_the_first_check_as_an_error():
    found = evaluate_failure(Failed("a", InvalidInputError("a.csv", "expected this, found that", line=3)))

    assert not found.passed
    assert (found.asset_key, found.check_name, found.severity) == (RAW, "readable", ERROR)
    assert found.description == "a.csv, line 3: expected this, found that"
