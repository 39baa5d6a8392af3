"""Trade-offs: contenders by two metrics, the frontier that nobody beats, hash rounds as curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from dashboard import theme
from dashboard.figures import base
from dashboard.looks import DASHES, PALETTE, PLAIN, Style
from dashboard.theme import Ink
from dashboard.tradeoffs import Rung, Spot

PLOT_PX = 400
MOST_LABELS = 9  # of more contenders only the unbeaten are named; the table has all


def pareto(
    spots: Sequence[Spot],
    styles: Mapping[str, Style],
    ink: Ink,
    *,
    x: tuple[str, str],
    y: tuple[str, str, str],
) -> go.Figure:
    """Draw each contender, the unbeaten ones strong and joined by a step line.

    Args:
        spots: contenders, all values positive where an axis is logarithmic.
        styles: looks by contender.
        ink: colours of the page.
        x: title and unit of the horizontal axis, of which less is better.
        y: title, unit and better direction of the vertical one.
    """
    figure = base.bare(ink, PLOT_PX + 72, {"r": 200, "l": 96})
    logs = all(spot.y > 0 for spot in spots) and y[1] != "1"
    horizontal = base.log_axis(ink, f"{x[0]} (less is better)", [s.x for s in spots] or [1.0], x[1])
    if logs or not spots:
        title = f"{y[0]} ({_direction(y[2])})"
        vertical = base.log_axis(ink, title, [s.y for s in spots] or [1.0], y[1])
    else:
        vertical = _linear(ink, spots, y)
    figure.update_layout(xaxis=horizontal, yaxis=vertical)
    _add_frontier(figure, spots, y[2])
    for best in (False, True):
        _add_spots(figure, [s for s in spots if s.best is best], styles, x[1], y[1], faded=not best)
    lo, hi = vertical["range"]
    labels = [
        base.Label(
            x=math.log10(spot.x),
            y=math.log10(spot.y) if logs else spot.y,
            text=f"<b>{theme.label(spot.line)}</b>" if spot.best else theme.label(spot.line),
        )
        for spot in spots
        if spot.best or len(spots) <= MOST_LABELS
    ]
    base.add_labels(figure, labels, per_px=abs(hi - lo) / PLOT_PX, ink=ink)
    return figure


def ladder(rungs: Sequence[Rung], ink: Ink, *, y: tuple[str, str]) -> go.Figure:
    """Draw quality against time, a point a number of hash rounds, a curve for the other options."""
    figure = base.bare(ink, PLOT_PX + 72, {"r": 210, "l": 96})
    figure.update_layout(
        xaxis=base.log_axis(
            ink, "Time per step (less is better)", [r.x for r in rungs] or [1], "s"
        ),
        yaxis=_linear(ink, rungs, (y[0], "1", y[1])),
    )
    curves = list(dict.fromkeys((rung.line, rung.others) for rung in rungs))
    labels: list[base.Label] = []
    for i, key in enumerate(curves):
        own = [rung for rung in rungs if (rung.line, rung.others) == key]
        color = PALETTE[(i * 3 + 1) % len(PALETTE)]
        figure.add_scatter(
            x=[rung.x for rung in own],
            y=[rung.y for rung in own],
            mode="lines+markers+text",
            text=[str(rung.hashes) for rung in own],
            textposition="top center",
            textfont={"color": ink.text, "size": 12},
            line={"color": color, "dash": DASHES[i % len(DASHES)], "width": 2},
            marker={"size": 8, "color": color},
            hovertext=[_rung(rung, y[0]) for rung in own],
            hoverinfo="text",
            name=f"{key[0]} {key[1]}",
        )
        end = own[-1]
        text = f"{theme.label(key[0])} {base.safe(key[1])}"
        labels.append(base.Label(x=math.log10(end.x), y=end.y, text=text))
    lo, hi = figure.layout.yaxis.range
    base.add_labels(figure, labels, per_px=abs(hi - lo) / PLOT_PX, ink=ink)
    return figure


def _rung(rung: Rung, title: str) -> str:
    rounds = "round" if rung.hashes == 1 else "rounds"
    return (
        f"<b>{theme.label(rung.line)}</b> {base.safe(rung.others)}<br>{rung.hashes} hash {rounds}"
        f"<br>{theme.quantity(rung.x, 's')}<br>{title}: {theme.digits(rung.y)}"
    )


def _add_frontier(figure: go.Figure, spots: Sequence[Spot], direction: str) -> None:
    """Join the unbeaten by steps: between two of them nobody is better than the worse of both."""
    best = sorted((spot for spot in spots if spot.best), key=lambda spot: spot.x)
    if len(best) < 2:
        return
    figure.add_scatter(
        x=[spot.x for spot in best],
        y=[spot.y for spot in best],
        mode="lines",
        line={"shape": "hv", "color": theme.GREY, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
        name=f"frontier ({direction})",
    )


def _add_spots(
    figure: go.Figure,
    spots: Sequence[Spot],
    styles: Mapping[str, Style],
    x_unit: str,
    y_unit: str,
    *,
    faded: bool,
) -> None:
    looks = [styles.get(spot.line, PLAIN) for spot in spots]
    figure.add_scatter(
        x=[spot.x for spot in spots],
        y=[spot.y for spot in spots],
        mode="markers",
        opacity=0.55 if faded else 1.0,
        marker={
            "color": [look.color for look in looks],
            "symbol": [look.marker for look in looks],
            "size": 10 if faded else 14,
        },
        text=[
            f"<b>{theme.label(spot.line)}</b><br>{theme.quantity(spot.x, x_unit)}"
            f"<br>{theme.quantity(spot.y, y_unit)}{'' if spot.best else '<br>beaten in both'}"
            for spot in spots
        ],
        hovertemplate="%{text}<extra></extra>",
        name="beaten" if faded else "unbeaten",
    )


def _linear(ink: Ink, points: Sequence[Spot | Rung], y: tuple[str, str, str]) -> dict:
    values = [point.y for point in points] or [0.0, 1.0]
    bottom = min([0.0, *values])
    span = [bottom, max(values) + 0.12 * ((max(values) - bottom) or 1.0)]
    return base.axis(ink, f"{y[0]} ({_direction(y[2])})", range=span)


def _direction(better: str) -> str:
    return "less is better" if better == "lower" else "more is better"
