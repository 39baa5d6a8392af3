"""The forest plot: a ratio with its interval for each cell, around the line of no change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from dashboard import theme
from dashboard.figures import base
from dashboard.theme import Ink
from dashboard.verdicts import WORDS, Row, brief

MOST_ROWS = 60
ROW_PX = 24
BETTER, WORSE = "#2f7ed8", "#d9730d"  # blue and orange: told apart without red and green
SIGNS = {"improved": "▲", "regressed": "▼"}
STEPS = (1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000)


def forest(found: Sequence[Row], ink: Ink) -> go.Figure:
    """Draw candidate over base on a binary logarithm, so that twice and half are equally far."""
    shown = [row for row in found if row.ratio and row.ratio > 0][:MOST_ROWS]
    longest = max((len(theme.short(row.label, 44)) for row in shown), default=10)
    margin = {"l": 40 + round(6.9 * longest), "r": 210, "b": 58, "t": 30}
    figure = base.bare(ink, 96 + ROW_PX * max(1, len(shown)), margin)
    reach = _reach(shown)
    _add_zone(figure, shown, reach)
    for verdict in WORDS:
        _add_rows(
            figure, [(i, r) for i, r in enumerate(shown) if r.verdict == verdict], verdict, ink
        )
    _add_words(figure, shown, ink, reach)
    ticks = [t for step in STEPS if step <= reach for t in (1 / step, step)] + [1]
    figure.update_layout(
        xaxis=base.axis(
            ink,
            "Candidate / baseline (1 = no change)",
            type="log",
            range=[-math.log10(reach), math.log10(reach)],
            tickvals=_sparse(sorted(ticks), reach),
            ticktext=[f"{theme.digits(t)}" for t in _sparse(sorted(ticks), reach)],
        ),
        yaxis={
            "tickvals": list(range(len(shown))),
            "ticktext": [base.safe(theme.short(row.label, 44)) for row in shown],
            "tickfont": {"color": ink.text, "size": 12},
            "range": [len(shown) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _reach(shown: Sequence[Row]) -> float:
    bounds = [b for row in shown for b in (row.ratio, row.lo, row.hi) if b and b > 0]
    far = max((max(b, 1 / b) for b in bounds), default=1.1)
    return max(1.06, far**1.15)


def _sparse(ticks: list[float], reach: float) -> list[float]:
    """Leave out ticks that would touch: nearer than a fourteenth of the axis."""
    gap = 2 * math.log(reach) / 14
    kept: list[float] = [1.0]
    for tick in sorted(ticks, key=lambda t: abs(math.log(t))):
        if all(abs(math.log(tick) - math.log(other)) >= gap for other in kept):
            kept.append(tick)
    return sorted(kept)


def _add_zone(figure: go.Figure, shown: Sequence[Row], reach: float) -> None:
    """Draw the line of no change and the band in which a change is taken for noise."""
    tall = {"yref": "y domain", "y0": 0, "y1": 1, "layer": "below"}
    bands = {row.band for row in shown}
    if bands and (band := max(bands)) > 0:
        lo, hi = max(1 / reach, 1 / (1 + band)), min(reach, 1 + band)
        figure.add_shape(type="rect", x0=lo, x1=hi, fillcolor=theme.GREY, opacity=0.15,
                         line={"width": 0}, **tall)  # fmt: skip
    figure.add_shape(type="line", x0=1, x1=1, line={"color": theme.GREY, "width": 1}, **tall)


def _add_rows(figure: go.Figure, rows: list[tuple[int, Row]], verdict: str, ink: Ink) -> None:
    if not rows:
        return
    color = {"improved": BETTER, "regressed": WORSE}.get(verdict, ink.quiet)
    symbol = {"improved": "triangle-up", "regressed": "triangle-down"}.get(verdict, "circle-open")
    whole = [row for _, row in rows]
    figure.add_scatter(
        x=[row.ratio for row in whole],
        y=[i for i, _ in rows],
        mode="markers",
        marker={"color": color, "size": 9, "symbol": symbol},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [(row.hi or row.ratio or 0) - (row.ratio or 0) for row in whole],
            "arrayminus": [(row.ratio or 0) - (row.lo or row.ratio or 0) for row in whole],
            "color": color,
            "thickness": 1.5,
            "width": 3,
        },
        text=[_hover(row) for row in whole],
        hovertemplate="%{text}<extra></extra>",
        name=WORDS[verdict],
    )


def _add_words(figure: go.Figure, shown: Sequence[Row], ink: Ink, reach: float) -> None:
    for i, row in enumerate(shown):
        figure.add_annotation(
            x=math.log10(reach),
            y=i,
            text=f"{SIGNS.get(row.verdict, '')} {brief(row)}".strip(),
            showarrow=False,
            xanchor="left",
            xshift=8,
            font={"size": 12, "color": ink.text},
        )


def _hover(row: Row) -> str:
    values = " → ".join(
        theme.quantity(value, row.unit) for value in (row.base, row.candidate) if value is not None
    )
    interval = f"<br>95 % interval {row.lo:.3g} to {row.hi:.3g}" if row.lo and row.hi else ""
    return f"<b>{base.safe(row.label)}</b><br>{values}<br>ratio {row.ratio:.3g}{interval}"
