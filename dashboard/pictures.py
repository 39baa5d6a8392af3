"""The README's pictures, drawn from a run: `python -m dashboard.pictures RUN [--output DIR]`.

Each figure is drawn by the page's own code in a Chromium without a network, light and dark.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from dashboard import curves, lines, looks, selecting, theme
from dashboard import tradeoffs as trades
from dashboard.figures.grid import grid as draw_grid
from dashboard.figures.pareto import pareto
from dashboard.figures.scaling import scaling
from dashboard.grid import grid
from dashboard.theme import Ink
from harness import store

WIDTH = 1000  # px
SCALE = 1.5  # pixels of the picture a px
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


def figures(path: Path, phase: str, ink: Ink) -> Iterator[tuple[str, Any]]:
    """Yield the name and the figure of each picture of a run, of its first settings."""
    header = store.outline(path).header
    found = lines.lines(store.frame(path), [contender.id for contender in header.contenders])
    styles = looks.styles((line, found.variants[line]) for line in found.order)
    phases = dict.fromkeys(each for each, _ in selecting.selections(found.table))
    phase = phase if phase in phases else next(iter(phases))
    settings = next(s for each, s in selecting.selections(found.table) if each == phase)
    rows = curves.records(selecting.select(found.table, phase, settings))
    for metric in ("latency", "peak_memory"):
        chart = curves.chart(rows, found.order, metric, phase, styles)
        if chart.measured:
            yield f"scaling-{metric}", scaling(chart, ink)
            yield f"grid-{metric}", draw_grid(grid(chart), ink)
    lengths = trades.lengths(rows)
    spots = trades.spots(rows, lengths[-1], "latency", "peak_memory") if lengths else []
    if spots:
        x, y = ("Time per step", "s"), ("Peak memory", "byte", "lower")
        yield "tradeoffs", pareto(spots, styles, ink, x=x, y=y)


def draw(path: Path, phase: str, target: Path, names: Sequence[str]) -> list[Path]:
    """Draw a run's pictures into a folder and return their paths.

    Raises:
        RuntimeError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the extra `dev`

    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        raise RuntimeError(f"pictures need a browser, one of {', '.join(BROWSERS)}")
    target.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_context(
            viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE, offline=True
        ).new_page()
        page.set_content("<style>body{margin:0}</style><div id=chart></div>")
        page.add_script_tag(content=get_plotlyjs())
        for kind, ink in theme.INK.items():
            for name, figure in figures(path, phase, ink):
                if name in names:
                    figure.update_layout(paper_bgcolor=ink.paper, width=WIDTH)
                    made.append(_shoot(page, figure, target / f"{name}-{kind}.png"))
        browser.close()
    return made


def _shoot(page: Any, figure: Any, path: Path) -> Path:
    page.evaluate(
        "async told => { const f = JSON.parse(told);"
        " await Plotly.newPlot('chart', f.data, f.layout, {staticPlot: true}); }",
        figure.to_json(),
    )
    height = figure.layout.height
    page.set_viewport_size({"width": WIDTH, "height": int(height)})
    page.screenshot(path=path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and name the files; 2 where the run cannot be read or there is no browser."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.pictures", description=__doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--root", type=Path, default=store.RESULTS, metavar="DIR")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"), metavar="DIR")
    parser.add_argument("--phase", default="forward")
    parser.add_argument("--names", nargs="*", default=["scaling-latency", "grid-latency"])
    args = parser.parse_args(arguments)
    try:
        made = draw(store.resolve(args.run, args.root), args.phase, args.output, args.names)
    except (store.StoreError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.writelines(f"{path}\n" for path in made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
