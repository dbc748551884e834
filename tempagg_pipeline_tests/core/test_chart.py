"""The small chart of an hourly table."""

import base64
import re
import warnings
import xml.etree.ElementTree as ET
from datetime import datetime

import pytest

from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.chart import chart_markdown, chart_svg
from tempagg_pipeline.core.hourly import HourlyTable
from tempagg_pipeline.core.sample import SampleSpec, sample_csv

SVG = "{http://www.w3.org/2000/svg}"


def _table(*rows: str) -> HourlyTable:
    text = "Datetime,Temperature\n" + "".join(f"{row}\n" for row in rows)
    return aggregate([text.encode()], "a.csv").table


def _sample(**spec: object) -> HourlyTable:
    return aggregate(sample_csv(SampleSpec(**spec)), "a.csv").table  # type: ignore[arg-type]


def _drawn(table: HourlyTable) -> ET.Element:
    """The chart, parsed: valid XML, drawn without a warning, and all within its frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = ET.fromstring(chart_svg(table))  # noqa: S314 - our own text
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for shape in root:
        for x, y in (point.split(",") for point in shape.attrib.get("points", "").split()):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height
    return root


def _lines(root: ET.Element) -> list[int]:
    """Points of each stretch of the mean."""
    return [len(line.attrib["points"].split()) for line in root.iter(f"{SVG}polyline")]


def _texts(root: ET.Element) -> list[str]:
    return [label.text or "" for label in root.iter(f"{SVG}text")]


def test_a_week_is_one_line_within_one_band():
    root = _drawn(_sample(days=4))
    assert _lines(root) == [96]
    (band,) = root.iter(f"{SVG}polygon")
    assert len(band.attrib["points"].split()) == 2 * 96


def test_labels_are_extremes_and_days():
    root = _drawn(_table("2024-01-01 00:00:00,-5", "2024-01-02 00:00:00,12.5"))
    assert _texts(root) == ["12.5", "-5", "2024-01-01", "2024-01-02"]


def test_a_gap_is_left_open():
    root = _drawn(
        _table(*(f"2024-01-01 {hour:02}:{minute}:00,{hour}" for hour in (0, 1, 5, 6, 7) for minute in (10, 20)))
    )
    assert _lines(root) == [2, 3]


def test_an_hour_alone_is_a_dot():
    root = _drawn(_table("2024-01-01 00:00:00,1", "2024-01-01 05:00:00,2"))
    (first, _) = root.iter(f"{SVG}polyline")
    assert first.attrib["stroke-linecap"] == "round"
    assert len(first.attrib["points"].split()) == 2


@pytest.mark.parametrize("days", [5, 30, 500])
def test_a_long_table_is_thinned_to_few_points_and_a_few_kilobytes(days: int):
    table = _sample(days=days, gap_share=0.1, outages=days // 10)
    assert sum(_lines(_drawn(table))) <= 200
    assert len(chart_markdown(table)) < 10_000


def test_thinning_keeps_the_extremes():
    hours = [f"2024-{month:02}-01 00:00:00,{month}" for month in range(1, 13)]
    assert _texts(_drawn(_table(*hours, "2024-06-15 12:00:00,-40", "2024-06-16 12:00:00,45")))[:2] == ["45", "-40"]


@pytest.mark.parametrize("celsius", ["20", "-1e100", "0"])
def test_a_constant_temperature_is_drawn(celsius: str):
    assert _lines(_drawn(_table(f"2024-01-01 00:00:00,{celsius}", f"2024-01-01 01:00:00,{celsius}"))) == [2]


def test_a_table_without_readings_says_so():
    assert _texts(_drawn(_table("2024-01-01 00:00:00,", "2024-05-01 00:00:00,"))) == ["no readings"]


def test_the_markdown_carries_the_picture_itself():
    table = _sample(days=1, start=datetime(2024, 1, 1))
    found = re.fullmatch(r"!\[.+\]\(data:image/svg\+xml;base64,(.+)\)", chart_markdown(table))
    assert found
    assert base64.b64decode(found[1]).decode() == chart_svg(table)
