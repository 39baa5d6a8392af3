"""Where a step's time and memory go: stacked bars over length, roofline, bytes over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from dashboard import theme
from dashboard.figures import base
from dashboard.looks import PALETTE, PLAIN, Style
from dashboard.profiles import Roof, Split, Timeline
from dashboard.theme import Ink
from harness.roofline import Peak

PX = 400
MOST_PARTS = 8  # that have a colour of their own; the rest is one grey part
PATTERNS = ("", "/", "x", ".", "\\", "-", "+", "|")
REST = "all smaller"


def breakdown(found: Split, ink: Ink, *, share: bool) -> go.Figure:
    """Draw the parts of a whole as a bar a length, as shares or in the unit of the whole."""
    parts = _gathered(found)
    size, symbol = theme.step(max(found.whole(i) for i in range(len(found.lengths))), found.unit)
    figure = base.bare(ink, PX, {"l": 70, "r": 210, "t": 16})
    for i, (name, values) in enumerate(parts.items()):
        known = name not in (REST, "unattributed", "unexplained")
        wholes = [found.whole(k) or 1.0 for k in range(len(values))]
        figure.add_bar(
            x=[theme.length(n) for n in found.lengths],
            y=[v / w if share else v / size for v, w in zip(values, wholes, strict=True)],
            marker={
                "color": PALETTE[i % len(PALETTE)] if known else theme.GREY,
                "pattern": {
                    "shape": PATTERNS[i % len(PATTERNS)],
                    "fillmode": "overlay",
                    "fgcolor": "#ffffff",
                    "fgopacity": 0.35,
                    "size": 7,
                },
                "line": {"width": 0.5, "color": ink.paper},
            },
            text=[
                f"{v / w:.0%}" if v / w > 0.06 else "" for v, w in zip(values, wholes, strict=True)
            ],
            textposition="inside",
            insidetextanchor="middle",
            textfont={"color": "#ffffff", "size": 11},
            hovertext=[
                f"{base.safe(words(name))}<br>{theme.quantity(v, found.unit)}, {v / w:.1%}"
                for v, w in zip(values, wholes, strict=True)
            ],
            hoverinfo="text",
            name=base.safe(words(name)),
        )
    vertical = base.axis(ink, "Share of the step", tickformat=".0%", range=[0, 1])
    if not share:
        vertical = base.axis(ink, f"{'Bytes' if found.unit == 'byte' else 'Time'} ({symbol})")
    figure.update_layout(
        barmode="relative",
        showlegend=True,
        legend={"font": {"color": ink.text}, "traceorder": "reversed", "x": 1.02, "y": 1},
        xaxis=base.axis(ink, "Sequence length (tokens)", type="category", showgrid=False),
        yaxis=vertical,
        bargap=0.25,
    )
    return figure


def words(name: str) -> str:
    """Return a family or account as people read it."""
    return name.replace("_", " ")


def _gathered(found: Split) -> dict[str, tuple[float, ...]]:
    """Return the largest parts, and the rest of them as one."""
    if len(found.parts) <= MOST_PARTS:
        return dict(found.parts)
    named = [name for name in found.parts if name != "unattributed"][: MOST_PARTS - 1]
    named += [name for name in found.parts if name == "unattributed"]
    parts = {name: found.parts[name] for name in named}
    rest = [values for name, values in found.parts.items() if name not in parts]
    sums = tuple(map(sum, zip(*rest, strict=True)))
    return {**parts, REST: sums} if rest else parts


def roofline(
    roofs: Sequence[Roof], peaks: Sequence[Peak], styles: Mapping[str, Style], ink: Ink
) -> go.Figure:
    """Draw cells by intensity and rate below the device's ceilings, each with its source."""
    known = [(p.source, p.flops_per_s, p.bytes_per_s) for p in peaks if p.flops_per_s]
    ceilings = [(source, top, bandwidth) for source, top, bandwidth in known if bandwidth]
    xs = [roof.intensity for roof in roofs] + [top / width for _, top, width in ceilings]
    ys = [roof.rate for roof in roofs] + [top for _, top, _ in ceilings]
    figure = base.bare(ink, PX + 40, {"r": 190, "l": 96})
    figure.update_layout(
        xaxis=base.log_axis(ink, "Intensity (FLOP a byte)", xs or [1.0], "flop/byte"),
        yaxis=base.log_axis(ink, "FLOP/s as executed (more is better)", ys or [1.0], "flop/s"),
    )
    lo, hi = (10**bound for bound in figure.layout.xaxis.range)
    for (source, top, bandwidth), dash in zip(ceilings, ("solid", "dash"), strict=False):
        ridge = top / bandwidth
        figure.add_scatter(
            x=[lo, ridge, hi],
            y=[lo * bandwidth, top, top],
            mode="lines",
            line={"color": ink.quiet, "width": 1.5, "dash": dash},
            hoverinfo="skip",
            name=f"ceiling, {source}",
        )
        figure.add_annotation(
            x=math.log10(hi),
            y=math.log10(top),
            text=f"{theme.quantity(top, 'flop/s')}, {source}<br>"
            f"{theme.quantity(bandwidth, 'byte/s')}, ridge at {theme.digits(ridge)}",
            showarrow=False,
            xanchor="left",
            xshift=6,
            align="left",
            font={"size": 12, "color": ink.text},
        )
    for line in dict.fromkeys(roof.line for roof in roofs):
        _add_cells(
            figure, [roof for roof in roofs if roof.line == line], styles.get(line, PLAIN), ink
        )
    return figure


def _add_cells(figure: go.Figure, own: Sequence[Roof], look: Style, ink: Ink) -> None:
    last = own[-1]
    figure.add_scatter(
        x=[roof.intensity for roof in own],
        y=[roof.rate for roof in own],
        mode="lines+markers",
        line={"color": look.color, "width": 1, "dash": look.dash},
        marker={"color": look.color, "symbol": look.marker, "size": 9},
        text=[
            f"<b>{theme.label(roof.line)}</b>, {theme.length(roof.length)} tokens"
            f"<br>{theme.quantity(roof.rate, 'flop/s')}, {theme.digits(roof.intensity)} FLOP a byte"
            + (f"<br>{roof.share:.0%} of the bound" if roof.share is not None else "")
            for roof in own
        ],
        hovertemplate="%{text}<extra></extra>",
        name=theme.label(last.line),
    )
    figure.add_annotation(
        x=math.log10(last.intensity),
        y=math.log10(last.rate),
        text=f"{theme.label(last.line)} {theme.length(last.length)}",
        showarrow=False,
        xanchor="left",
        xshift=9,
        font={"size": 12, "color": ink.text},
        bgcolor=ink.paper,
        opacity=0.85,
    )


def timeline(found: Timeline, ink: Ink, capacity: float | None = None) -> go.Figure:
    """Draw bytes over time as a stack of accounts, the passes shaded, the budget as a line."""
    totals = [sum(values) for values in zip(*found.accounts.values(), strict=True)]
    size, symbol = theme.step(max(totals, default=1.0), "byte")
    step_s, clock = theme.step(max(found.times_s[-1], 1e-9), "s")
    scale = 1 / step_s
    figure = base.bare(ink, PX, {"l": 70, "r": 24, "t": 30})
    for i, (name, values) in enumerate(found.accounts.items()):
        color = PALETTE[i % len(PALETTE)] if name != "unexplained" else theme.GREY
        figure.add_scatter(
            x=[t * scale for t in found.times_s],
            y=[value / size for value in values],
            mode="lines",
            stackgroup="bytes",
            line={"shape": "hv", "width": 0.5, "color": color},
            hovertemplate=f"{words(name)}: %{{y:.3g}} {symbol} at %{{x:.3g}} {clock}"
            "<extra></extra>",
            name=base.safe(words(name)),
        )
    if capacity:
        figure.add_shape(
            type="line", xref="paper", x0=0, x1=1, y0=capacity / size, y1=capacity / size,
            line={"color": ink.text, "width": 1.5, "dash": "dash"},
        )  # fmt: skip
    whole = (found.times_s[-1] - found.times_s[0]) or 1.0
    for name, start, end in found.phases:
        figure.add_shape(
            type="line", x0=start * scale, x1=start * scale, yref="paper", y0=0, y1=1,
            line={"color": theme.GREY, "width": 1, "dash": "dot"},
        )  # fmt: skip
        if end - start < 0.05 * whole:  # too narrow for its name
            continue
        figure.add_annotation(
            x=(start + end) / 2 * scale, y=1.02, yref="paper", text=base.safe(name),
            showarrow=False, yanchor="bottom", font={"size": 12, "color": ink.text},
        )  # fmt: skip
    figure.update_layout(
        showlegend=True,
        legend={"font": {"color": ink.text}, "orientation": "h", "y": -0.22},
        margin={"b": 100},
        xaxis=base.axis(ink, f"Time ({clock}; the first of two steps warms up)"),
        yaxis=base.axis(ink, f"Allocated ({symbol})", rangemode="tozero"),
    )
    return figure
