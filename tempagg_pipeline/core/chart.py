"""A small picture of an hourly table: the mean as a line within its min-max band, as an SVG of a few kilobytes."""

import base64

import numpy as np
from numpy.typing import NDArray

from tempagg_pipeline.core.hourly import HourlyTable

_WIDTH, _HEIGHT = 600, 150
_LEFT, _BOTTOM = 34, 16
_POINTS = 100
_BAND, _LINE, _TEXT = "#bcd9f5", "#1f6fb2", "#666"
_STROKE = 'stroke-width="1.5" stroke-linecap="round"'


def chart_svg(table: HourlyTable) -> str:
    """Mean line and min-max band over time, at most 100 points wide, gaps left open."""
    low, mean, high = _thinned(table)
    if np.isnan(mean).all():
        return _svg(_label(_WIDTH // 2, _HEIGHT // 2, "no readings", "middle"))
    bottom, top = float(np.nanmin(low)), float(np.nanmax(high))
    span = top - bottom or 1.0
    x = np.linspace(_LEFT, _WIDTH - 4, len(mean)).round().astype(int).tolist() if len(mean) > 1 else [_WIDTH // 2]

    def y(values: NDArray[np.float64]) -> list[float]:
        return ((_HEIGHT - _BOTTOM - 4) - (values - bottom) / span * (_HEIGHT - _BOTTOM - 12)).round(1).tolist()

    parts = []
    lows, means, highs = y(low), y(mean), y(high)
    for start, stop in _unbroken(mean):
        band = _points(x[start:stop], highs[start:stop]) + " " + _points(x[start:stop][::-1], lows[start:stop][::-1])
        parts.append(f'<polygon points="{band}" fill="{_BAND}" stroke="{_BAND}"/>')
        line = _points(x[start:stop], means[start:stop])
        if stop - start == 1:
            # A line from a point to itself is a dot.
            line = f"{line} {line}"
        parts.append(f'<polyline points="{line}" fill="none" stroke="{_LINE}" {_STROKE}/>')
    first, last = (str(np.datetime_as_string(table.hours[at], unit="D")) for at in (0, -1))
    parts += [
        _label(_LEFT - 4, 14, f"{top:.4g}", "end"),
        _label(_LEFT - 4, _HEIGHT - _BOTTOM - 2, f"{bottom:.4g}", "end"),
        _label(_LEFT, _HEIGHT - 3, first, "start"),
        _label(_WIDTH - 4, _HEIGHT - 3, last, "end"),
    ]
    return _svg("".join(parts))


def chart_markdown(table: HourlyTable) -> str:
    """The chart as a Markdown image that carries its own data."""
    data = base64.b64encode(chart_svg(table).encode()).decode()
    return f"![hourly mean within minimum and maximum, in °C](data:image/svg+xml;base64,{data})"


def _thinned(table: HourlyTable) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Lowest minimum, mean of means and highest maximum of equally long stretches."""
    if len(table) <= _POINTS:
        return table.min, table.mean, table.max
    edges = np.linspace(0, len(table), _POINTS + 1).astype(int)[:-1]
    has = ~np.isnan(table.mean)
    hours = np.add.reduceat(has.astype(float), edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.add.reduceat(np.where(has, table.mean, 0.0), edges) / hours
    return np.fmin.reduceat(table.min, edges), mean, np.fmax.reduceat(table.max, edges)


def _unbroken(mean: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Stretches without a gap, as start and behind-last position."""
    has = np.concatenate(([False], ~np.isnan(mean), [False]))
    edges = np.flatnonzero(has[1:] != has[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _points(x: list[int], y: list[float]) -> str:
    return " ".join(f"{across},{down:g}" for across, down in zip(x, y, strict=True))


def _label(x: int, y: int, text: str, anchor: str) -> str:
    font = 'font-size="11" font-family="sans-serif"'
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" {font} fill="{_TEXT}">{text}</text>'


def _svg(content: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">{content}</svg>'
