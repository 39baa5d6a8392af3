"""The scaling chart: one metric over sequence length, both axes logarithmic."""

from __future__ import annotations

import html
from collections.abc import Iterator

import plotly.graph_objects as go

from dashboard import theme
from dashboard.curves import Chart, Curve, Point
from dashboard.figures import annotations, failures, layout
from dashboard.theme import Ink


def scaling(chart: Chart, ink: Ink) -> go.Figure:
    """Draw medians with their bands, names at line ends, crossovers, and failures above.

    Lines break where a length has no number and end where the numbers end; they never drop to
    zero and never cross a gap.
    """
    figure = layout.empty(chart, ink)
    if chart.measured:
        annotations.add_guides(figure, chart)
        for curve in chart.curves:
            _add_band(figure, curve)
        for curve in chart.curves:
            _add_line(figure, chart, curve)
        annotations.add_crossovers(figure, chart, ink)
        annotations.add_labels(figure, chart, ink)
    failures.add_strip(figure, chart, ink)
    return figure


def segments(curve: Curve) -> Iterator[list[Point]]:
    """Yield runs of points at neighbouring lengths; a length without a number ends a run."""
    run: list[Point] = []
    for length in curve.lengths:
        if length in curve.at:
            run.append(curve.at[length])
        elif run:
            yield run
            run = []
    if run:
        yield run


def _add_band(figure: go.Figure, curve: Curve) -> None:
    color = curve.style.color
    for run in segments(curve):
        known = [point for point in run if point.lo > 0]  # NaN below six samples
        if len(known) < 2:
            continue
        lengths = [point.length for point in known]
        figure.add_scatter(
            x=[*lengths, *reversed(lengths)],
            y=[*(point.hi for point in known), *(point.lo for point in reversed(known))],
            mode="lines",
            line={"width": 0, "color": color},
            fill="toself",
            fillcolor=f"rgba({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))}, 0.18)",
            hoverinfo="skip",
            name=f"{curve.contender} 95 %",
        )


def _add_line(figure: go.Figure, chart: Chart, curve: Curve) -> None:
    look = curve.style
    points = [curve.at.get(length) for length in curve.lengths]
    figure.add_scatter(
        x=list(curve.lengths),
        y=[point.value if point else None for point in points],
        mode="lines+markers",
        connectgaps=False,
        line={"color": look.color, "width": 2, "dash": look.dash},
        marker={"symbol": look.marker, "size": 8, "color": look.color},
        name=curve.contender,
        text=[_hover(chart, curve, point) if point else "" for point in points],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(chart: Chart, curve: Curve, point: Point) -> str:
    interval = ""
    if point.lo > 0:
        lo, hi = (theme.quantity(bound, chart.unit) for bound in (point.lo, point.hi))
        interval = f"<br>95 % interval {lo} to {hi}"
    return (
        f"<b>{html.escape(curve.contender)}</b>, {theme.length(point.length)} tokens"
        f"<br>{theme.quantity(point.value, chart.unit)}{interval}<br>n = {len(point.samples)}"
    )
