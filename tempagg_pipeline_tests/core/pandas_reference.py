"""What pandas makes of a raw CSV: the reference that the aggregation is held against."""

import io
import math

import numpy as np
import pandas as pd

from tempagg_pipeline.core.hourly import HourlyTable

STATISTICS = ["mean", "std", "min", "max", "count"]
TOLERANCE = 1e-9


def by_pandas(content: bytes) -> pd.DataFrame:
    """Hourly statistics by ``resample("h")``."""
    # Python's float() is exact; pandas' own parser is not in every version.
    frame = pd.read_csv(io.BytesIO(content), usecols=["Datetime", "Temperature"], converters={"Temperature": _number})
    frame["Datetime"] = pd.to_datetime(frame["Datetime"], format="%Y-%m-%d %H:%M:%S")
    hourly = frame.set_index("Datetime").resample("h")["Temperature"].agg(STATISTICS)
    return pd.DataFrame(hourly)


def _number(text: str) -> float:
    return float(text) if text else math.nan


def assert_equal_to_pandas(table: HourlyTable, content: bytes) -> None:
    """The table has pandas' hours and figures, to 1e-9."""
    expected = by_pandas(content)
    assert np.array_equal(table.hours, expected.index.to_numpy())
    for column in STATISTICS:
        np.testing.assert_allclose(
            getattr(table, column), expected[column].to_numpy(), rtol=TOLERANCE, atol=TOLERANCE, err_msg=column
        )
