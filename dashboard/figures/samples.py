"""Raw samples of one measurement: distribution, order of measurement, autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboard import samples, theme
from dashboard.figures import base
from dashboard.samples import Autocorrelation
from dashboard.theme import Ink

MOST = 2000  # samples that are drawn; more are thinned out evenly, and the caption says so
PX = 260
BLUE = "#3b78c3"


def ecdf(values: Sequence[float], unit: str, ink: Ink) -> go.Figure:
    """Draw the share of samples that is not above a value, and the median."""
    x, y = samples.ecdf(values)
    keep = thinned(len(x))
    size, symbol = theme.step(x[len(x) // 2], unit)
    figure = base.bare(ink, PX, {"l": 60, "r": 16, "t": 20})
    figure.add_scatter(
        x=[x[i] / size for i in keep],
        y=[y[i] for i in keep],
        mode="lines+markers",
        line={"shape": "hv", "color": BLUE, "width": 1.5},
        marker={"size": 6, "color": BLUE},
        hovertemplate=f"%{{y:.0%}} at or below %{{x:.4g}} {symbol}<extra></extra>",
        name="share of samples",
    )
    middle = samples.stats.median(values) / size
    _upright(figure, middle, f"median {theme.digits(middle)} {symbol}", ink)
    figure.update_layout(
        xaxis=base.axis(ink, f"Value ({symbol or unit})"),
        yaxis=base.axis(ink, "Share at or below", range=[0, 1.05], tickformat=".0%"),
    )
    return figure


def order(values: Sequence[float], unit: str, ink: Ink, launches: Sequence[int] = ()) -> go.Figure:
    """Draw samples in the order of their measurement, with the borders between launches."""
    keep = thinned(len(values))
    size, symbol = theme.step(samples.stats.median(values), unit)
    figure = base.bare(ink, PX, {"l": 60, "r": 16, "t": 20})
    figure.add_scatter(
        x=[i + 1 for i in keep],
        y=[values[i] / size for i in keep],
        mode="lines+markers",
        line={"color": BLUE, "width": 1},
        marker={"size": 6, "color": BLUE},
        hovertemplate=f"sample %{{x}}: %{{y:.4g}} {symbol}<extra></extra>",
        name="samples",
    )
    edge = 0
    for n in launches[:-1] if sum(launches) == len(values) else ():
        edge += n
        _upright(figure, edge + 0.5, "", ink)
    note = " · dotted: next process" if len(launches) > 1 else ""
    figure.update_layout(
        xaxis=base.axis(ink, f"Order of measurement{note}"),
        yaxis=base.axis(ink, f"Value ({symbol or unit})"),
    )
    return figure


def autocorrelation(found: Autocorrelation, ink: Ink) -> go.Figure:
    """Draw autocorrelation by lag, with the band in which independent samples lie."""
    figure = base.bare(ink, PX, {"l": 60, "r": 16, "t": 20})
    figure.add_bar(
        x=list(found.lags),
        y=list(found.values),
        width=0.35,
        marker={"color": BLUE},
        hovertemplate="lag %{x}: %{y:.2f}<extra></extra>",
        name="autocorrelation",
    )
    figure.add_shape(
        type="rect", xref="paper", x0=0, x1=1, y0=-found.bound, y1=found.bound,
        fillcolor=theme.GREY, opacity=0.2, line={"width": 0}, layer="below",
    )  # fmt: skip
    figure.update_layout(
        xaxis=base.axis(ink, "Lag (samples)", dtick=max(1, len(found.lags) // 8)),
        yaxis=base.axis(ink, "Autocorrelation", range=[-1.05, 1.05]),
    )
    return figure


def thinned(n: int, most: int = MOST) -> list[int]:
    """Return places of `n` things, at most so many, the first and the last among them."""
    if n <= most:
        return list(range(n))
    return sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def _upright(figure: go.Figure, at: float, text: str, ink: Ink) -> None:
    line = {"color": theme.GREY, "width": 1, "dash": "dot"}
    figure.add_shape(type="line", x0=at, x1=at, yref="paper", y0=0, y1=1, line=line)
    if text:
        figure.add_annotation(
            x=at, y=1.02, yref="paper", text=text, showarrow=False, yanchor="bottom",
            font={"size": 12, "color": ink.text},
        )  # fmt: skip
