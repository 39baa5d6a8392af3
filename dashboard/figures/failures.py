"""The strip above a chart: cells without a number, at their length, with glyph and word."""

from __future__ import annotations

import html

import plotly.graph_objects as go

from dashboard import theme
from dashboard.curves import Chart, Curve
from dashboard.theme import Ink

WORD_SHIFT = "\N{EM SPACE}"  # room for the glyph, which stands exactly at its length


def add_strip(figure: go.Figure, chart: Chart, ink: Ink) -> None:
    """Draw a row a contender: a glyph a cell, and its word where an outcome begins."""
    for row, curve in enumerate(curve for curve in chart.curves if curve.failures):
        lengths = [failure.length for failure in curve.failures]
        marks = [theme.outcome(failure.outcome) for failure in curve.failures]
        begins = [i == 0 or marks[i] != marks[i - 1] for i in range(len(marks))]
        shared = {
            "x": lengths,
            "y": [row] * len(lengths),
            "yaxis": "y2",
            "mode": "text",
            "textfont": {"color": ink.text, "size": 12},
            "cliponaxis": False,
        }
        figure.add_scatter(
            **shared,
            text=[glyph for glyph, _ in marks],
            hovertext=_hovers(curve),
            hoverinfo="text",
            name=f"{curve.contender} without a number",
        )
        figure.add_scatter(
            **shared,
            text=[
                f"{WORD_SHIFT}{word}" if begin else ""
                for (_, word), begin in zip(marks, begins, strict=True)
            ],
            textposition="middle right",
            hoverinfo="skip",
            name=f"{curve.contender} in words",
        )


def _hovers(curve: Curve) -> list[str]:
    return [
        f"<b>{html.escape(curve.contender)}</b>, {theme.length(failure.length)} tokens"
        f"<br>{failure.outcome}: {theme.wrapped(failure.reason)}"
        for failure in curve.failures
    ]
