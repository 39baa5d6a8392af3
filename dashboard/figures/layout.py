"""The empty scaling chart: sizes, axes, margins."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from dashboard import theme
from dashboard.curves import Chart
from dashboard.figures import axes
from dashboard.theme import Ink

PLOT_PX = 420  # height of the plot itself
BARE_PX = 24  # of a plot without a single number
ROW_PX = 24  # of a row of the strip of failures
TOP_PX, BOTTOM_PX = 12, 60
LETTER_PX = 7.2  # width of a letter at 13 px, generously
LEFT_PX, RIGHT_PX = (84, 230), (60, 320)  # least and most room for names


def empty(chart: Chart, ink: Ink) -> go.Figure:
    """Return a figure with axes and nothing in them; the strip of failures has its own rows."""
    rows = [curve for curve in chart.curves if curve.failures]
    plot = PLOT_PX if chart.measured else BARE_PX
    body = plot + (len(rows) * ROW_PX + 10 if rows else 0)
    figure = go.Figure()
    figure.update_layout(
        height=body + TOP_PX + BOTTOM_PX,
        margin={"t": TOP_PX, "b": BOTTOM_PX, "l": _left(chart), "r": _right(chart)},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "Source Sans, sans-serif", "size": 13, "color": ink.text},
        showlegend=False,
        hovermode="closest",
        xaxis=_length_axis(chart, ink),
        yaxis={"domain": [0, plot / body], **_value_axis(chart, ink)},
    )
    if rows:
        figure.update_layout(
            yaxis2={
                "domain": [1 - len(rows) * ROW_PX / body, 1],
                "anchor": "x",
                "range": [len(rows) - 0.5, -0.5],
                "tickvals": list(range(len(rows))),
                "ticktext": [theme.label(curve.contender) for curve in rows],
                "tickfont": {"color": ink.text, "size": 12},
                "showgrid": False,
                "zeroline": False,
                "fixedrange": True,
            }
        )
    return figure


def value_range(chart: Chart) -> tuple[float, float]:
    """Return the bounds of the value axis."""
    points = [point for curve in chart.curves for point in curve.points]
    bands = [bound for point in points for bound in (point.lo, point.hi) if bound > 0]
    return axes.bounds([*(point.value for point in points), *bands], 0.08)


def _length_axis(chart: Chart, ink: Ink) -> dict[str, object]:
    lengths = chart.lengths or [1]
    values, texts = axes.length_ticks(lengths)
    lo, hi = axes.bounds(lengths, 0.04)
    return {
        "type": "log",
        "range": [math.log10(lo), math.log10(hi)],
        "tickvals": values,
        "ticktext": texts,
        "title": {"text": "Sequence length (tokens, k = 1024)", "standoff": 12},
        "gridcolor": ink.grid,
        "tickfont": {"color": ink.quiet},
        "anchor": "y",
        "zeroline": False,
        "showline": True,
        "linecolor": ink.quiet,
    }


def _value_axis(chart: Chart, ink: Ink) -> dict[str, object]:
    title = f"{theme.metric(chart.metric).quantity} (median, {chart.better} is better)"
    shared = {"title": {"text": title, "standoff": 10}, "gridcolor": ink.grid, "zeroline": False}
    if not chart.measured:
        return {"visible": False, "type": "log", "range": [0, 1]}
    lo, hi = value_range(chart)
    values, texts = axes.value_ticks(lo, hi, chart.unit)
    return {
        **shared,
        "type": "log",
        "range": [math.log10(lo), math.log10(hi)],
        "tickvals": values,
        "ticktext": texts,
        "tickfont": {"color": ink.quiet},
    }


def _left(chart: Chart) -> int:
    """Return the margin that ticks, title and the names of the strip need."""
    return _room(LEFT_PX, [curve.contender for curve in chart.curves if curve.failures])


def _right(chart: Chart) -> int:
    """Return the margin that the labels of lines which end at the right need."""
    last = chart.lengths[-1] if chart.lengths else 0
    ended = (c for c in chart.curves if c.points and c.points[-1].length == last)
    return _room(RIGHT_PX, [c.contender + " ∝ n 0.00" * bool(c.exponent) for c in ended])


def _room(limits: tuple[int, int], names: list[str]) -> int:
    least, most = limits
    letters = max((len(theme.short(name)) for name in names), default=0)
    return int(min(most, max(least, 24 + LETTER_PX * letters)))
