"""The small chart of an hourly table."""

import re
import warnings
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest

from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.bundled import bundled_samples
from tempagg_pipeline.core.chart import SHOWN_IN_PLACE_CHARACTERS, chart_markdown, chart_svg
from tempagg_pipeline.core.hourly import HourlyTable
from tempagg_pipeline.core.sample import SampleSpec, sample_csv

SVG = "{http://www.w3.org/2000/svg}"
SAMPLES = dict(bundled_samples())


def _table(*rows: str) -> HourlyTable:
    text = "Datetime,Temperature\n" + "".join(f"{row}\n" for row in rows)
    return aggregate([text.encode()], "a.csv").table


def _sample(days: float, gap_share: float = 0.0, outages: int = 0) -> HourlyTable:
    return aggregate(sample_csv(SampleSpec(days=days, gap_share=gap_share, outages=outages)), "a.csv").table


def _drawn(table: HourlyTable) -> ET.Element:
    """The chart, parsed: valid XML, drawn without a warning, and all within its frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = ET.fromstring(chart_svg(table))  # noqa: S314 - our own text
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for path in root.iter(f"{SVG}path"):
        for x, y in _corners(path.attrib["d"]):
            assert 0 <= x <= width
            assert 0 <= y <= height
    return root


def _corners(path: str) -> list[tuple[int, int]]:
    """Absolute positions that a path of the commands M, m, l, v and h goes through."""
    at, found = (0, 0), []
    for command, arguments in re.findall(r"([Mmlvh])([^Mmlvh]+)", path):
        numbers = [int(number) for number in re.findall(r"-?\d+", arguments)]
        if command == "v":
            moves = [(0, number) for number in numbers]
        elif command == "h":
            moves = [(number, 0) for number in numbers]
        else:
            moves = list(zip(numbers[::2], numbers[1::2], strict=True))
        for x, y in moves:
            at = (x, y) if command == "M" else (at[0] + x, at[1] + y)
            found.append(at)
    return found


def _band(root: ET.Element) -> list[str]:
    """The strokes of the band."""
    return next(path.attrib["d"] for path in root.iter(f"{SVG}path")).split("m")[1:]


def _stretches(root: ET.Element) -> list[int]:
    """Points of each stretch of the mean."""
    line = [path.attrib["d"] for path in root.iter(f"{SVG}path")][1]
    return [len(_corners(f"M{part}")) for part in line.split("M")[1:]]


def _texts(root: ET.Element) -> list[str]:
    return [label.text or "" for label in root.iter(f"{SVG}text")]


def test_two_days_are_one_line_within_one_band():
    root = _drawn(_sample(days=2))
    assert _stretches(root) == [48]
    assert len(_band(root)) == 48


def test_labels_are_the_extremes():
    root = _drawn(_table("2024-01-01 00:00:00,-5", "2024-01-02 00:00:00,12.5"))
    assert _texts(root) == ["12.5", "-5"]


def test_higher_is_warmer():
    root = _drawn(_table(*(f"2024-01-01 {hour:02}:00:00,{hour}" for hour in range(5))))
    line = [path.attrib["d"] for path in root.iter(f"{SVG}path")][1]
    heights = [y for _, y in _corners(line)]
    assert heights == sorted(heights, reverse=True)


def test_a_gap_is_left_open():
    root = _drawn(
        _table(*(f"2024-01-01 {hour:02}:{minute}:00,{hour}" for hour in (0, 1, 5, 6, 7) for minute in (10, 20)))
    )
    assert _stretches(root) == [2, 3]
    assert len(_band(root)) == 5


def test_an_hour_alone_is_seen():
    root = _drawn(_table("2024-01-01 00:00:00,1", "2024-01-01 05:00:00,2"))
    line = [path.attrib["d"] for path in root.iter(f"{SVG}path")][1]
    assert line.count("h1") == 2
    assert all(int(stroke.split("v")[1]) > 0 for stroke in _band(root))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_ui_shows_a_bundled_station_in_place(name: str):
    markdown = chart_markdown(aggregate([SAMPLES[name]], name).table)
    assert markdown.startswith("![")
    assert len(markdown) <= SHOWN_IN_PLACE_CHARACTERS


@pytest.mark.parametrize("days", [5, 30, 500])
@pytest.mark.parametrize("gap_share", [0.0, 0.3])
def test_the_ui_shows_a_long_table_in_place(days: int, gap_share: float):
    markdown = chart_markdown(_sample(days, gap_share, outages=days))
    assert markdown.startswith("![")
    assert len(markdown) <= SHOWN_IN_PLACE_CHARACTERS


def test_every_other_hour_missing_still_fits():
    rows = [f"2024-01-{day:02} {hour:02}:00:00,{(hour * 37) % 100}" for day in range(1, 9) for hour in range(0, 24, 2)]
    markdown = chart_markdown(_table(*rows))
    assert markdown.startswith("![")
    assert len(markdown) <= SHOWN_IN_PLACE_CHARACTERS


def test_thinning_keeps_the_extremes():
    hours = [f"2024-{month:02}-01 00:00:00,{month}" for month in range(1, 13)]
    assert _texts(_drawn(_table(*hours, "2024-06-15 12:00:00,-40", "2024-06-16 12:00:00,45"))) == ["45", "-40"]


@pytest.mark.parametrize("celsius", ["20", "-1e100", "0"])
def test_a_constant_temperature_is_drawn(celsius: str):
    assert _stretches(_drawn(_table(f"2024-01-01 00:00:00,{celsius}", f"2024-01-01 01:00:00,{celsius}"))) == [2]


def test_a_table_without_readings_says_so():
    assert _texts(_drawn(_table("2024-01-01 00:00:00,", "2024-05-01 00:00:00,"))) == ["no readings"]


def test_the_markdown_carries_the_picture_itself_and_tells_the_days():
    table = _table("2024-01-01 00:00:00,1", "2024-01-02 05:00:00,2")
    found = re.fullmatch(r"!\[.+\]\(data:image/svg\+xml,(\S+)\)\n\n(.+)", chart_markdown(table))
    assert found
    assert unquote(found[1]) == chart_svg(table)
    assert found[2].startswith("2024-01-01 to 2024-01-02")
