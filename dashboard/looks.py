"""How a contender looks: the colour of its variant, the same on every page and in every run.

Dash and marker say the same without colour, and tell apart what shares one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PALETTE = (
    *("#8080ff", "#ff4080", "#806000", "#408060"),
    *("#bf0080", "#809f00", "#8020ff", "#609f9f"),
)
DASHES = (
    "solid",
    "dash",
    "dot",
    "dashdot",
    "longdash",
    "longdashdot",
    "2px,5px",
    "9px,2px,2px,2px",
)
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
GLYPHS = ("●", "■", "◆", "▲", "▼", "✚", "✖", "★")
GREY = "#888888"  # guide lines, and what nobody knows the variant of
# Attention variant -> place. Places are for ever: a new variant goes to the end, none is taken
# away. From the ninth on, colours come again with other markers.
PLACES: Mapping[str, int] = {
    name: place
    for place, name in enumerate(
        (
            *("full", "lsh", "local", "linear", "performer", "linformer", "nystromformer"),
            *(
                "routing",
                "multi_query",
                "lsh_huggingface",
                "local_huggingface",
                "lsh_reformer_pytorch",
            ),
            *("grouped_query", "global_local", "hyper", "gated_linear", "shared_qk"),
            *("random_buckets", "clustered", "longformer", "bigbird", "dilated"),
        )
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a contender looks, wherever it appears."""

    color: str
    dash: str
    marker: str
    glyph: str  # the marker as text


PLAIN = Style(color=GREY, dash="solid", marker="circle", glyph="●")


def place(variant: str) -> int:
    """Return the place of a variant; of one from outside it follows from its name alone."""
    return PLACES.get(variant, zlib.crc32(variant.encode()) % len(PALETTE))


def styles(variants: Iterable[tuple[str, str]]) -> dict[str, Style]:
    """Return the look of each line of a run.

    Args:
        variants: name of the line and its variant, in the order of the suite. The first line of a
            variant looks the same in every run.
    """
    found: dict[str, Style] = {}
    for line, variant in variants:
        at = place(variant)
        color, turn = PALETTE[at % len(PALETTE)], at % len(PALETTE) + 3 * (at // len(PALETTE))
        taken = [style for style in found.values() if style.color == color]
        again = len(taken)
        free = [
            i
            for step in range(len(MARKERS))
            if MARKERS[i := (turn + again + step) % len(MARKERS)] not in {s.marker for s in taken}
        ]
        i = free[0] if free else (turn + again) % len(MARKERS)
        dash = DASHES[(at // len(PALETTE) + again) % len(DASHES)]
        found[line] = Style(color=color, dash=dash, marker=MARKERS[i], glyph=GLYPHS[i])
    return found
