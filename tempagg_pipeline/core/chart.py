"""A small picture of an hourly table: the mean as a line within its min-max band, as an SVG below a kilobyte.

Dagster's UI shows Markdown of fewer than 1,000 characters in place, and longer one only behind a click. Hence short
relative paths, one stroke an interval for the band, and no more points than fit.
"""

from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from tempagg_pipeline.core.hourly import HourlyTable

SHOWN_IN_PLACE_CHARACTERS = 999

_WIDTH, _HEIGHT = 480, 90
_LEFT = 40
"""Room for the labels."""
_TOP = 5
_MOST_POINTS = 64
_LEAST_POINTS = 8
_BAND, _LINE, _TEXT = "lightblue", "steelblue", "gray"
_UNQUOTED = "/:=',;"


def chart_markdown(table: HourlyTable) -> str:
    """The chart as a Markdown image that carries its own data, and the days it covers; shown in place by the UI."""
    first, last = (str(np.datetime_as_string(table.hours[at], unit="D")) for at in (0, -1))
    caption = f"{first} to {last}: mean, minimum to maximum"
    for points in range(_MOST_POINTS, _LEAST_POINTS - 1, -4):
        markdown = f"![mean in °C](data:image/svg+xml,{quote(chart_svg(table, points), safe=_UNQUOTED)})\n\n{caption}"
        if len(markdown) <= SHOWN_IN_PLACE_CHARACTERS:
            return markdown
    return caption


def chart_svg(table: HourlyTable, points: int = _MOST_POINTS) -> str:
    """Mean line and min-max band over time, at most so many points wide, gaps left open."""
    low, mean, high = _thinned(table, points)
    if np.isnan(mean).all():
        return _svg(_label(_HEIGHT // 2, "no readings"))
    bottom, top = float(np.nanmin(low)), float(np.nanmax(high))
    step = _WIDTH // len(mean)

    def down(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Whole pixels from the top."""
        share = (values - bottom) / (top - bottom or 1.0)
        return (_TOP + (1 - share) * _HEIGHT).round()

    band = "".join(_strokes(down(high), down(low), step))
    line = "".join(_lines(down(mean), step))
    return _svg(
        f"<path d='{band}' stroke='{_BAND}' stroke-width='{step}'/>"
        f"<path d='{line}' stroke='{_LINE}' fill='none'/>"
        f"{_label(_TOP + 6, f'{top:.4g}')}{_label(_TOP + _HEIGHT, f'{bottom:.4g}')}"
    )


def _thinned(table: HourlyTable, points: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Lowest minimum, mean of means and highest maximum of equally long stretches."""
    if len(table) <= points:
        return table.min, table.mean, table.max
    edges = np.linspace(0, len(table), points + 1).astype(int)[:-1]
    has = ~np.isnan(table.mean)
    hours = np.add.reduceat(has.astype(float), edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.add.reduceat(np.where(has, table.mean, 0.0), edges) / hours
    return np.fmin.reduceat(table.min, edges), mean, np.fmax.reduceat(table.max, edges)


def _strokes(high: NDArray[np.float64], low: NDArray[np.float64], step: int) -> Iterator[str]:
    """One upright stroke for each point that has readings, as wide as the step between points."""
    across, below = 0, 0
    for at in np.flatnonzero(~np.isnan(high)).tolist():
        x, y = _x(at, step), int(high[at])
        yield f"m{_pair(x - across, y - below)}v{max(1, int(low[at]) - y)}"
        across, below = x, y + max(1, int(low[at]) - y)


def _lines(mean: NDArray[np.float64], step: int) -> Iterator[str]:
    """A line through each stretch without a gap; a point alone is a dash of one pixel."""
    for start, stop in _unbroken(mean):
        yield f"M{_pair(_x(start, step), int(mean[start]))}"
        if stop - start == 1:
            yield "h1"
        else:
            moves = (int(there - here) for here, there in pairwise(mean[start:stop].tolist()))
            yield "l" + ",".join(_pair(step, move) for move in moves)


def _unbroken(mean: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Stretches without a gap, as start and behind-last position."""
    has = np.concatenate(([False], ~np.isnan(mean), [False]))
    edges = np.flatnonzero(has[1:] != has[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _x(point: int, step: int) -> int:
    return _LEFT + step * point + step // 2


def _pair(x: int, y: int) -> str:
    """Two numbers of a path; a minus sign parts them as well as a comma."""
    return f"{x}{y}" if y < 0 else f"{x},{y}"


def _label(y: int, text: str) -> str:
    return f"<text y='{y}'>{text}</text>"


def _svg(content: str) -> str:
    size = f"width='{_LEFT + _WIDTH}' height='{_HEIGHT + 2 * _TOP}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} font-size='11' fill='{_TEXT}'>{content}</svg>"
