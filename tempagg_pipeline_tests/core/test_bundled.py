"""The sample objects in the package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tempagg_pipeline.core.aggregation import Aggregation, aggregate
from tempagg_pipeline.core.bundled import bundled_samples
from tempagg_pipeline.core.locations import location_of


@pytest.fixture(scope="module")
def samples() -> dict[str, bytes]:
    return dict(bundled_samples())


def _aggregated(samples: dict[str, bytes], name: str) -> Aggregation:
    return aggregate([samples[name]], name)


def test_real_and_made_up_stations_are_there(samples: dict[str, bytes]):
    assert [location_of(name) for name in samples] == [
        "alamosa_2016_01_01", "midc_2018_10_14_2m", "midc_2018_10_14_50m", "midc_2018_10_14_80m", "midc_2018_10_18",
        "temperature1", "temperature2", "temperature3", "temperature4", "temperature5", "temperature6",
    ]  # fmt: skip


def test_every_sample_is_good_input(samples: dict[str, bytes]):
    for name, content in samples.items():
        assert aggregate([content], name).profile.bad_rows == 0


def test_a_real_station_day_is_complete(samples: dict[str, bytes]):
    found = _aggregated(samples, "alamosa_2016_01_01.csv")
    assert (found.profile.rows, found.profile.missing_minutes, len(found.table)) == (1440, 0, 24)
    assert found.table.min.min() == -22.9


def test_a_made_up_station_has_an_hour_without_data(samples: dict[str, bytes]):
    assert np.any(_aggregated(samples, "temperature4.csv").table.count == 0)


def test_samples_are_the_same_every_time(samples: dict[str, bytes]):
    assert dict(bundled_samples()) == samples


def test_the_wheel_carries_the_real_data_and_where_it_is_from(tmp_path: Path):
    project = Path(__file__).parents[2]
    command = [sys.executable, "-m", "uv", "build", "-q", "--wheel", "--out-dir", str(tmp_path), str(project)]
    subprocess.run(command, check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"tempagg_pipeline/data/alamosa_2016_01_01.csv", "tempagg_pipeline/data/README.md"} <= set(names)
