"""The hourly table equals pandas' resample, whatever the file looks like."""

import io
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.bundled import bundled_samples
from tempagg_pipeline.core.hourly import COLUMNS
from tempagg_pipeline.core.minute_csv.reader import BLOCK_BYTES
from tempagg_pipeline.core.sample import SampleSpec, sample_csv
from tempagg_pipeline_tests.core.pandas_reference import assert_equal_to_pandas, by_pandas
from tempagg_pipeline_tests.core.raw_files import CANONICAL, Form, Row, any_number, cut, forms, rows, temperatures

HEADER = b"Datetime,Temperature\n"
SAMPLES = dict(bundled_samples())


@pytest.mark.parametrize("name", SAMPLES)
def test_real_and_made_up_stations_equal_pandas(name: str):
    assert_equal_to_pandas(aggregate([SAMPLES[name]], name).table, SAMPLES[name])


@given(rows(), forms)
def test_any_rows_in_any_form_equal_pandas(readings: list[Row], form: Form):
    content = form.write(readings)
    assert_equal_to_pandas(aggregate([content], "a.csv").table, content)


@given(rows(temperature=any_number | temperatures))
def test_numbers_of_every_shape_equal_pandas(readings: list[Row]):
    content = CANONICAL.write(readings)
    assert_equal_to_pandas(aggregate([content], "a.csv").table, content)


@given(rows(), forms, st.lists(st.integers(0), max_size=30))
def test_cuts_between_chunks_change_nothing(readings: list[Row], form: Form, cuts: list[int]):
    content = form.write(readings)
    whole, pieces = aggregate([content], "a.csv"), aggregate(cut(content, cuts), "a.csv")
    assert pieces.profile == whole.profile
    assert b"".join(pieces.table.csv_pieces()) == b"".join(whole.table.csv_pieces())


@pytest.mark.parametrize("size", [1, 7, 4099, 1_000_003])
def test_the_same_bytes_give_the_same_output_to_the_last_bit_however_they_arrive(size: int):
    content = b"".join(sample_csv(SampleSpec(seed=4, days=15)))
    assert len(content) > BLOCK_BYTES
    chunks = (content[start : start + size] for start in range(0, len(content), size))
    whole, pieces = aggregate([content], "a.csv"), aggregate(chunks, "a.csv")
    assert pieces.profile == whole.profile
    assert b"".join(pieces.table.csv_pieces()) == b"".join(whole.table.csv_pieces())


@given(rows(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(readings: list[Row], random):
    shuffled = list(readings)
    random.shuffle(shuffled)
    content, other = CANONICAL.write(readings), CANONICAL.write(shuffled)
    assert_equal_to_pandas(aggregate([other], "a.csv").table, content)


def test_a_file_of_many_blocks_in_random_order_equals_pandas():
    header, *lines = b"".join(sample_csv(SampleSpec(seed=9, days=40, gap_share=0.1, outages=3))).splitlines()
    np.random.default_rng(1).shuffle(lines)
    content = b"\n".join([header, *lines, b""])
    assert len(content) > 4 * BLOCK_BYTES
    assert_equal_to_pandas(aggregate([content], "a.csv").table, content)


def test_a_file_read_backwards_equals_pandas():
    header, *lines = SAMPLES["temperature3.csv"].splitlines()
    content = b"\n".join([header, *reversed(lines), b""])
    assert_equal_to_pandas(aggregate([content], "a.csv").table, content)


def test_one_row_makes_one_hour_without_deviation():
    table = aggregate([HEADER + b"2024-02-29 13:37:00,-0.5\n"], "a.csv").table
    assert b"".join(table.csv_pieces()) == b"Datetime,mean,std,min,max,count\n2024-02-29 13:00:00,-0.5,,-0.5,-0.5,1\n"


def test_an_hour_without_rows_is_kept_empty():
    table = aggregate([HEADER + b"2024-01-01 00:00:00,1\n2024-01-01 02:00:00,3\n"], "a.csv").table
    assert b"".join(table.csv_pieces()).splitlines()[2] == b"2024-01-01 01:00:00,,,,,0"


def test_blank_temperatures_stretch_the_table_but_are_not_counted():
    table = aggregate([HEADER + b"2024-01-01 00:00:00,\n2024-01-01 01:00:00,1\n2024-01-01 02:59:00,\n"], "a.csv").table
    assert table.count.tolist() == [0, 1, 0]


@pytest.mark.parametrize("year", [1, 9999])
def test_the_first_and_the_last_year_there_are_can_be_read(year: int):
    content = HEADER + f"{year:04}-12-31 23:59:00,1\n".encode()
    table = aggregate([content], "a.csv").table
    assert b"".join(table.csv_pieces()).splitlines()[1].startswith(f"{year:04}-12-31 23:00:00,1.0,".encode())


@given(rows(temperature=st.floats(-100, 100).map(repr), min_size=2))
def test_the_mean_never_leaves_minimum_and_maximum(readings: list[Row]):
    table = aggregate([CANONICAL.write(readings)], "a.csv").table
    full = table.count > 0
    assert np.all((table.min[full] <= table.mean[full]) & (table.mean[full] <= table.max[full]))


def test_equal_readings_have_exactly_their_value_as_mean():
    content = HEADER + b"".join(b"2024-01-01 00:%02d:00,0.1\n" % minute for minute in range(3))
    assert aggregate([content], "a.csv").table.mean.tolist() == [0.1]


def test_deviation_survives_a_large_offset():
    content = HEADER + b"".join(
        b"2024-01-01 00:%02d:00,%.4f\n" % (minute, 1e8 + minute % 2 * 1e-3) for minute in range(60)
    )
    table = aggregate([content], "a.csv").table
    assert table.std[0] == pytest.approx(np.std([0, 1e-3] * 30, ddof=1), rel=1e-4)


def test_enormous_readings_do_not_overflow():
    content = HEADER + b"2024-01-01 00:00:00,1e100\n2024-01-01 00:01:00,-1e100\n"
    table = aggregate([content], "a.csv").table
    assert np.isfinite([table.mean[0], table.std[0]]).all()


def test_profile_tells_what_the_file_holds():
    content = HEADER + (
        b"2024-01-01 00:10:00,1.5\n2024-01-01 00:10:30,1.5\n2024-01-01 00:12:59,\n2024-01-01 00:01:07,2\n\n"
    )
    profile = aggregate([content], "a.csv").profile
    assert (profile.bytes, profile.rows, profile.readings, profile.duplicates) == (len(content), 4, 3, 1)
    assert (profile.first, profile.last) == (datetime(2024, 1, 1, 0, 1, 7), datetime(2024, 1, 1, 0, 12, 59))
    assert (profile.minutes_spanned, profile.missing_minutes) == (12, 10)
    assert profile.coverage == pytest.approx(2 / 12)


@given(rows())
def test_missing_minutes_and_duplicates_are_counted(readings: list[Row]):
    profile = aggregate([CANONICAL.write(readings)], "a.csv").profile
    minutes = [stamp.replace(second=0) for stamp, _ in readings]
    present = {stamp.replace(second=0) for stamp, text in readings if text}
    assert profile.duplicates == len(minutes) - len(set(minutes))
    assert profile.missing_minutes == (max(minutes) - min(minutes)) // timedelta(minutes=1) + 1 - len(present)


def test_duplicates_are_known_by_hour_even_when_blank():
    content = HEADER + b"2024-01-01 00:00:00,1\n2024-01-01 02:05:00,\n2024-01-01 02:05:00,7\n"
    assert aggregate([content], "a.csv").table.duplicates.tolist() == [0, 0, 1]


def test_same_bytes_have_the_same_identity_and_others_another():
    content = SAMPLES["temperature5.csv"]
    first, again = (
        aggregate([content], "a.csv").profile.sha256,
        aggregate(cut(content, [9, 99]), "b.csv").profile.sha256,
    )
    assert first == again != aggregate([content + b"\n"], "a.csv").profile.sha256


@given(rows())
def test_the_csv_reads_back_as_the_same_doubles(readings: list[Row]):
    table = aggregate([CANONICAL.write(readings)], "a.csv").table
    header, *lines = b"".join(table.csv_pieces()).decode().splitlines()
    assert tuple(header.split(",")) == COLUMNS
    columns = zip(*(line.split(",")[1:] for line in lines), strict=True)
    for name, texts in zip(COLUMNS[1:], columns, strict=True):
        np.testing.assert_array_equal([float(text or "nan") for text in texts], getattr(table, name))


def test_the_csv_of_many_years_equals_pandas_hour_by_hour():
    content = b"".join(sample_csv(SampleSpec(seed=3, days=400, gap_share=0.02)))
    frame = pd.read_csv(io.BytesIO(b"".join(aggregate([content], "a.csv").table.csv_pieces())))
    expected = by_pandas(content)
    assert frame["Datetime"].tolist() == expected.index.astype(str).tolist()
    np.testing.assert_allclose(frame["mean"], expected["mean"], rtol=1e-9)
