"""The grid: every cell of a selection with its number or the word for why it has none."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from dashboard import theme
from dashboard.figures import base
from dashboard.grid import Entry, Grid
from dashboard.theme import Ink

ROW_PX, MOST_ROWS = 46, 40
MOST = 16.0  # times the best from which on the colour stays the same
# Cividis (Nunez, Anderton, Renslow 2018) from best to worst: readable without red or green.
SCALE = ((0.0, "#fee838"), (0.25, "#bcad6c"), (0.5, "#7c7b78"), (0.75, "#434e6c"), (1.0, "#00224e"))
DARK_FROM = 0.45  # share of the scale from which on letters are white


def grid(found: Grid, ink: Ink) -> go.Figure:
    """Draw a row a contender and a column a length; colour tells how far from the column's best."""
    lines = found.lines[:MOST_ROWS]
    longest = max((len(theme.short(line)) for line in lines), default=1)
    margin = {"l": 30 + round(7.4 * longest), "b": 54, "t": 8, "r": 90}
    figure = base.bare(ink, 62 + ROW_PX * max(1, len(lines)), margin)
    columns = [theme.length(n) for n in found.lengths]
    shades = [[_shade(found.at(line, n)) for n in found.lengths] for line in lines]
    figure.add_heatmap(
        z=shades,
        x=list(range(len(columns))),
        y=list(range(len(lines))),
        colorscale=[list(stop) for stop in SCALE],
        zmin=0,
        zmax=1,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        colorbar=_bar(ink),
        showscale=any(shade is not None for row in shades for shade in row),
        name="distance from the best",
    )
    for dark in (False, True):
        _add_words(figure, found, lines, ink, dark=dark)
    figure.update_layout(
        xaxis=base.axis(
            ink,
            "Sequence length (tokens, k = 1024)",
            tickvals=list(range(len(columns))),
            ticktext=columns,
            range=[-0.5, len(columns) - 0.5],
            showgrid=False,
        ),
        yaxis={
            "tickvals": list(range(len(lines))),
            "ticktext": [theme.label(line) for line in lines],
            "tickfont": {"color": ink.text},
            "range": [len(lines) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _add_words(
    figure: go.Figure, found: Grid, lines: tuple[str, ...], ink: Ink, *, dark: bool
) -> None:
    """Write the cells on dark ground in white and the others in black, or in the page's ink."""
    entries = [
        (row, column, entry)
        for row, line in enumerate(lines)
        for column, n in enumerate(found.lengths)
        if (entry := found.at(line, n)) is not None
    ]
    entries = [each for each in entries if ((_shade(each[2]) or 0) > DARK_FROM) == dark]
    figure.add_scatter(
        x=[column for _, column, _ in entries],
        y=[row for row, _, _ in entries],
        mode="text",
        text=[_text(entry) for _, _, entry in entries],
        hovertext=[_hover(entry) for _, _, entry in entries],
        hoverinfo="text",
        textfont={"size": 12, "color": [_letter(e, ink, dark) for _, _, e in entries]},
        name="cells on dark ground" if dark else "cells",
    )


def _letter(entry: Entry, ink: Ink, dark: bool) -> str:
    if entry.ratio is None:
        return ink.text
    return "#ffffff" if dark else "#000000"


def _shade(entry: Entry | None) -> float | None:
    if entry is None or entry.ratio is None:
        return None
    return min(1.0, math.log(max(1.0, entry.ratio)) / math.log(MOST))


def _text(entry: Entry) -> str:
    if entry.value is None:
        glyph, word = theme.outcome(entry.outcome)
        return "not measured" if entry.outcome == "ok" else f"{glyph} {base.safe(word)}"
    times = f"{theme.digits(entry.ratio)}{theme.TIMES}" if entry.ratio else ""
    lead = "best" if entry.ratio == 1 else times
    return "<br>".join(filter(None, (theme.quantity(entry.value, entry.unit), lead)))


def _hover(entry: Entry) -> str:
    head = f"<b>{theme.label(entry.line)}</b>, {theme.length(entry.length)} tokens"
    if entry.value is None:
        return f"{head}<br>{entry.outcome}: {theme.wrapped(entry.reason)}"
    best = ""
    if entry.ratio:
        best = f"<br>{theme.digits(entry.ratio)} times the best of this length"
    return f"{head}<br>{theme.quantity(entry.value, entry.unit)}{best}<br>n = {entry.n}"


def _bar(ink: Ink) -> dict[str, object]:
    times = (1, 2, 4, 8, 16)
    return {
        "title": {"text": "of the best", "font": {"size": 12}},
        "tickvals": [math.log(t) / math.log(MOST) for t in times],
        "ticktext": [f"{t}{theme.TIMES}" for t in times[:-1]] + [f"≥ {times[-1]}{theme.TIMES}"],
        "tickfont": {"color": ink.text},
        "thickness": 12,
        "outlinewidth": 0,
    }
