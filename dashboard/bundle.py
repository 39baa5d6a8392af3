"""A run as one file of HTML with its charts in it: for artifacts of a CI and for letters.

    python -m dashboard.bundle RUN [--root DIR] [--output FILE]

Nothing is fetched: Plotly's program is in the file, and a policy in it forbids the rest.
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from dashboard import conditions, curves, findings, lines, looks, selecting, tables, theme
from dashboard import tradeoffs as trades
from dashboard.curves import Chart, Row
from dashboard.figures.grid import grid as draw_grid
from dashboard.figures.pareto import pareto
from dashboard.figures.scaling import scaling
from dashboard.grid import grid
from dashboard.lines import Lines
from dashboard.looks import Style
from dashboard.selecting import Settings
from harness import store

MOST = 12  # selections of phase and settings that one file shows
METRICS = ("latency", "peak_memory", "throughput", "quality", "error")
INK = theme.INK["light"]
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
body{font:16px/1.5 'Source Sans',system-ui,sans-serif;color:#262730;background:#fff;
max-width:1180px;margin:2rem auto;padding:0 1rem}figure{margin:1rem 0}
table{border-collapse:collapse;font-size:14px}td,th{border:1px solid #d8dae0;padding:3px 8px;
text-align:left}.answer{border:1px solid #9aa0ad;border-radius:6px;padding:.7rem 1rem;
white-space:pre-line}pre{background:#f4f5f7;padding:.6rem;overflow-wrap:anywhere;
white-space:pre-wrap}figcaption,.small{font-size:14px}
"""


def document(path: Path) -> str:
    """Return a run as one page of HTML.

    Raises:
        StoreError: the run cannot be read.
    """
    outline = store.outline(path)
    header = outline.header
    found = lines.lines(store.frame(path), [contender.id for contender in header.contenders])
    styles = looks.styles((line, found.variants[line]) for line in found.order)
    environments = store.environments(path)
    body = [
        f"<h1>{_e(header.suite)}</h1><p>{_e(header.question)}</p>",
        f"<p class=small>{_e(header.run_id)} · {_e(header.created_at)} · {_e(outline.state)} · "
        f"{_e(conditions.badge(list(environments.values())))}</p>",
    ]
    every = list(selecting.selections(found.table))
    for phase, settings in islice(every, MOST):
        body += _section(found, styles, phase, settings, len(environments))
    if len(every) > MOST:
        body.append(f"<p>{MOST} of {len(every)} combinations of settings are shown.</p>")
    if not every:
        body.append("<p>This run has no results yet.</p>")
    body += [f"<p class=small>Note: {_e(note)}</p>" for note in store.notes(path)]
    body += ["<h2>Environment</h2>", *map(_environment, environments.values())]
    command = " ".join(["python -m harness", *header.command])
    body += ["<h2>The command</h2>", f"<pre>{_e(command)}</pre>"]
    body += ["<h2>The suite</h2>", f"<pre>{_e(header.suite_text)}</pre>"]
    return _page(header.run_id, body)


def _section(
    found: Lines, styles: dict[str, Style], phase: str, settings: Settings, environments: int
) -> Iterator[str]:
    """Yield what is shown of one selection: answer, grid, curves, trade-off, numbers."""
    rows = curves.with_derived(curves.records(selecting.select(found.table, phase, settings)))
    names = [line for line in found.order if any(row["contender"] == line for row in rows)]
    there = curves.metrics(rows)
    charts = [
        curves.chart(rows, names, metric, phase, styles, found.order[0])
        for metric in METRICS
        if metric in there
    ] or [curves.chart(rows, names, "latency", phase, styles, found.order[0])]
    told = ", ".join([phase, *(f"{name} {value}" for name, value in settings)])
    fixed = {name: str(rows[0][name]) for name in curves.TOLD}
    memory = next((chart for chart in charts if chart.metric == "peak_memory"), charts[0])
    yield f"<h2>{_e(told)}</h2>"
    yield f"<p class=answer>{_e(findings.answer(charts[0], memory, fixed))}</p>"
    alt = findings.headline(charts[0])
    yield _figure(draw_grid(grid(charts[0]), INK), alt, "below each median: times the best")
    for chart in (chart for chart in charts if len(chart.lengths) > 1 or not chart.measured):
        words = findings.caption(chart, fixed, environments)
        yield _figure(scaling(chart, INK), findings.headline(chart), words)
        yield "".join(f"<p>{_e(line)}</p>" for line in findings.crossovers(chart))
    yield from _trade(rows, styles)
    yield from map(_numbers, charts)


def _trade(rows: Sequence[Row], styles: dict[str, Style]) -> Iterator[str]:
    """Yield the trade-off of time and memory at the longest length, if there are two to compare."""
    lengths = trades.lengths(rows)
    spots = trades.spots(rows, lengths[-1], "latency", "peak_memory") if lengths else []
    if len(spots) > 1:
        names = " and ".join(spot.line for spot in spots if spot.best)
        alt = f"At {theme.length(lengths[-1])} tokens unbeaten in time and memory: {names}"
        x, y = ("Time per step", "s"), ("Peak memory", "byte", "lower")
        yield _figure(pareto(spots, styles, INK, x=x, y=y), alt, f"{alt}.")


def _numbers(chart: Chart) -> str:
    rows = tables.numbers(chart)
    title = _e(theme.metric(chart.metric).quantity)
    return f"<details><summary>{title}: numbers</summary>{_table(rows)}</details>"


def _table(rows: Sequence[dict[str, Any]]) -> str:
    names = list(rows[0]) if rows else []
    head = "".join(f"<th>{_e(name)}</th>" for name in names)
    lines_ = (
        "".join(f"<td>{'' if row[name] is None else _e(row[name])}</td>" for name in names)
        for row in rows
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines_)}</table>"


def _environment(environment: store.Environment) -> str:
    rows = conditions.listing(environment)
    return f"<details><summary>{_e(environment.id)}</summary>{_table(rows)}</details>"


def _figure(figure: Any, alt: str, words: str) -> str:
    config = {"displaylogo": False, "responsive": True}
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, config=config)
    label = html.escape(alt, quote=True)
    under = f"<figcaption>{_e(words)}</figcaption>"
    return f'<figure role="group" aria-label="{label}">{drawn}{under}</figure>'


def _page(title: str, body: Sequence[str]) -> str:
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{_e(title)}</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script>"
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'
    )


def _e(text: object) -> str:
    return html.escape(str(text))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to a file or to standard output; 2 where the run cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.bundle", description=__doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--root", type=Path, default=store.RESULTS, metavar="DIR")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    args = parser.parse_args(arguments)
    try:
        text = document(store.resolve(args.run, args.root))
    except store.StoreError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if args.output is None:
        sys.stdout.write(text)
    else:
        args.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
