"""Small multiples: a panel a cell, a point a run, segments between the steps found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard import history, theme
from dashboard.figures import base
from dashboard.figures.samples import thinned
from dashboard.history import Series, Step
from dashboard.looks import PLAIN, Style
from dashboard.theme import Ink

COLUMNS, MOST_PANELS = 3, 12
PANEL_PX, HEAD_PX = 190, 40
MOST_RUNS = 120  # points a panel: 12 panels with points and intervals stay below 5,000


def multiples(
    found: Sequence[Series], steps: Sequence[Step], styles: Mapping[str, Style], ink: Ink
) -> go.Figure:
    """Draw up to twelve cells over runs; each panel has a scale of its own."""
    shown = list(found[:MOST_PANELS])
    rows = max(1, math.ceil(len(shown) / COLUMNS))
    titles = [base.safe(each.label) for each in shown]
    grid = make_subplots(
        rows=rows, cols=COLUMNS, subplot_titles=titles, vertical_spacing=0.32 / max(2, rows),
        horizontal_spacing=0.08,
    )  # fmt: skip
    grid.update_layout(base.bare(ink, HEAD_PX + 40 + PANEL_PX * rows).layout)
    grid.update_layout(margin={"t": HEAD_PX, "l": 60, "r": 16, "b": 50})
    grid.update_annotations(font={"size": 12, "color": ink.text})
    for i, each in enumerate(shown):
        at = {"row": i // COLUMNS + 1, "col": i % COLUMNS + 1}
        _add_panel(grid, each, steps, styles.get(each.contender, PLAIN), ink, at)
    return grid


def _add_panel(
    figure: go.Figure,
    found: Series,
    steps: Sequence[Step],
    look: Style,
    ink: Ink,
    at: dict[str, Any],
) -> None:
    keep = thinned(len(found.moments), MOST_RUNS)
    size, symbol = theme.step(history.stats.median(found.values), found.unit)
    moments = [found.moments[i] for i in keep]
    figure.add_scatter(
        x=[i + 1 for i in keep],
        y=[moment.value / size for moment in moments],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_reach(m.hi - m.value) / size for m in moments],
            "arrayminus": [_reach(m.value - m.lo) / size for m in moments],
            "color": look.color,
            "thickness": 1,
            "width": 2,
        },
        mode="markers",
        marker={"color": look.color, "symbol": look.marker, "size": 6},
        text=[f"{base.safe(m.run_id)}<br>{theme.quantity(m.value, found.unit)}" for m in moments],
        hovertemplate="%{text}<extra></extra>",
        name=base.safe(found.label),
        **at,
    )
    for first, last, middle in history.segments(found, steps):
        figure.add_scatter(
            x=[first + 0.6, last + 1.4],
            y=[middle / size] * 2,
            mode="lines",
            line={"color": ink.quiet, "width": 2},
            hoverinfo="skip",
            name="median of the stretch",
            **at,
        )
    shared: dict[str, Any] = {
        "gridcolor": ink.grid,
        "zeroline": False,
        "tickfont": {"color": ink.quiet, "size": 11},
    }
    every = max(1, math.ceil(len(found.moments) / 6))
    figure.update_xaxes(range=[0.4, len(found.moments) + 0.6], dtick=every, **shared, **at)
    figure.update_yaxes(title={"text": symbol, "standoff": 4}, nticks=5, **shared, **at)


def _reach(distance: float) -> float:
    return distance if math.isfinite(distance) else 0.0
