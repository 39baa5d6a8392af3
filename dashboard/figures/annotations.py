"""Words inside a scaling chart: names at line ends, crossovers, guide lines."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from dashboard import theme
from dashboard.curves import Chart, Curve
from dashboard.figures import axes, layout
from dashboard.theme import Ink
from harness.scaling import Crossover

GAP_PX = 19  # between the middles of two labels
BESIDE = {"xanchor": "left", "yanchor": "middle", "xshift": 9}


def add_guides(figure: go.Figure, chart: Chart) -> None:
    """Draw thin lines that grow as n and n^2, for the eye; only where growth is a cost."""
    lengths = chart.lengths
    if not chart.has_guides:
        return
    bottom, top = layout.value_range(chart)
    start = bottom * (top / bottom) ** 0.03
    for power in (1, 2):
        reach = min(lengths[-1], lengths[0] * (top / start) ** (1 / power))
        figure.add_scatter(
            x=[lengths[0], reach],
            y=[start, start * (reach / lengths[0]) ** power],
            mode="lines",
            line={"color": theme.GREY, "width": 1, "dash": "dot"},
            opacity=0.55,
            hoverinfo="skip",
            name=f"guide {power}",
        )


def add_labels(figure: go.Figure, chart: Chart, ink: Ink) -> None:
    """Name each line where it ends: beside the last length, or off the line before it."""
    lo, hi = layout.value_range(chart)
    gap = math.log10(hi / lo) * GAP_PX / layout.PLOT_PX
    for length in chart.lengths:
        ended = [c for c in chart.curves if c.points and c.points[-1].length == length]
        places = axes.spread([math.log10(curve.points[-1].value) for curve in ended], gap)
        last = length == chart.lengths[-1]
        for curve, place in zip(ended, places, strict=True):
            figure.add_annotation(
                x=math.log10(length),
                y=place,
                text=_name(curve),
                showarrow=False,
                font={"color": ink.text, "size": 13},
                bgcolor=ink.paper,
                borderpad=1,
                opacity=0.9,
                name=f"label {curve.contender}",
                **(BESIDE if last else _off(curve)),
            )


def _off(curve: Curve) -> dict[str, object]:
    """Return a place left of the end of a line: above one that rises, below one that falls."""
    falls = len(curve.points) > 1 and curve.points[-1].value < curve.points[-2].value
    anchor, shift = ("top", -7) if falls else ("bottom", 7)
    return {"xanchor": "right", "xshift": 8, "yanchor": anchor, "yshift": shift}


def _name(curve: Curve) -> str:
    look = curve.style
    growth = f"  ∝ n<sup>{theme.power(curve.exponent.exponent)}</sup>" if curve.exponent else ""
    mark = f"<span style='color:{look.color}'>{look.glyph}</span>"
    return f"{mark} {theme.label(curve.contender)}{growth}"


def add_crossovers(figure: go.Figure, chart: Chart, ink: Ink) -> None:
    """Mark where a contender becomes better than the baseline, with its interval."""
    middle = math.sqrt(chart.lengths[0] * chart.lengths[-1])
    word = theme.metric(chart.metric).comparative
    rising = chart.better == "lower"
    found = [(c, c.crossover) for c in chart.curves if c.crossover and not c.crossover.everywhere]
    for i, (curve, crossover) in enumerate(found):
        color = curve.style.color
        _add_upright(figure, crossover, color)
        right = crossover.length > middle
        figure.add_annotation(
            x=math.log10(crossover.length),  # of the logarithm, unlike shapes
            y=0.02 + 0.06 * i if rising else 0.94 - 0.06 * i,  # where fewer lines end
            yref="y domain",
            text=f"{theme.label(curve.contender)} {word} from {theme.length(crossover.length)}",
            showarrow=False,
            xanchor="right" if right else "left",
            xshift=-5 if right else 5,
            yanchor="bottom",
            font={"color": ink.text, "size": 12},
            bgcolor=ink.paper,
            borderpad=1,
            opacity=0.9,
            name=f"crossover {curve.contender}",
        )


def _add_upright(figure: go.Figure, crossover: Crossover, color: str) -> None:
    """Draw the line and the interval of a crossover; shapes take data coordinates."""
    tall = {"y0": 0, "y1": 1, "xref": "x", "yref": "y domain", "layer": "below"}
    at, lo, hi = crossover.length, crossover.lo, crossover.hi
    line = {"color": color, "width": 1.5, "dash": "dot"}
    figure.add_shape(type="line", x0=at, x1=at, line=line, **tall)
    if lo is not None and hi is not None:
        band = {"line": {"width": 0}, "fillcolor": color, "opacity": 0.12}
        figure.add_shape(type="rect", x0=lo, x1=hi, **band, **tall)
