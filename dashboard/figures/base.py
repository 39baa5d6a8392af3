"""What all figures share: transparent paper, ink, axes, labels beside points."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboard.figures import axes
from dashboard.theme import Ink

FONT = "Source Sans, sans-serif"
MOST_POINTS = 5_000  # of SVG in one figure


def bare(ink: Ink, height: int, margin: Mapping[str, int] | None = None) -> Any:
    """Return a figure of a height with nothing in it; typed as Any, as Plotly types nothing."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"t": 12, "b": 60, "l": 84, "r": 24} | dict(margin or {}),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": ink.text},
        showlegend=False,
        hovermode="closest",
    )
    return figure


def axis(ink: Ink, title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title; `more` as Plotly names it."""
    return {
        "title": {"text": title, "standoff": 10},
        "gridcolor": ink.grid,
        "tickfont": {"color": ink.quiet},
        "zeroline": False,
        "linecolor": ink.quiet,
        **more,
    }


def log_axis(ink: Ink, title: str, values: Sequence[float], unit: str) -> dict[str, Any]:
    """Return a logarithmic axis that holds positive values of a unit."""
    lo, hi = axes.bounds(values, 0.12)
    at, texts = axes.value_ticks(lo, hi, unit)
    span = [math.log10(lo), math.log10(hi)]
    return axis(ink, title, type="log", range=span, tickvals=at, ticktext=texts)


def safe(text: str) -> str:
    """Return text in which Plotly finds no tags."""
    return html.escape(text, quote=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words beside a point, in axis coordinates: of a logarithmic axis the logarithm."""

    x: float
    y: float
    text: str  # fit for Plotly


def add_labels(
    figure: go.Figure, labels: Sequence[Label], *, per_px: float, ink: Ink, gap_px: int = 18
) -> None:
    """Write labels to the right of their points, moved up or down so that none covers another.

    Args:
        figure: what is drawn on.
        labels: one a point.
        per_px: of the value axis, in its coordinates.
        ink: colours of the page.
        gap_px: between the middles of two labels.
    """
    places = axes.spread([label.y for label in labels], gap_px * per_px)
    for label, place in zip(labels, places, strict=True):
        moved = abs(place - label.y) > gap_px / 3 * per_px
        figure.add_annotation(
            x=label.x,
            y=label.y,
            text=label.text,
            ax=20,
            ay=-(place - label.y) / per_px,
            xanchor="left",
            showarrow=True,
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=ink.quiet if moved else "rgba(0,0,0,0)",
            standoff=5,
            font={"color": ink.text, "size": 12},
        )
