"""Trade-offs: time against memory and quality at one length, what fits a budget, hash rounds."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import charts, filters, shell, theme, tradeoffs
from dashboard.data import Selection
from dashboard.figures.pareto import ladder, pareto

MIB = 2**20
ERROR = "python -m harness run suites/error.yaml"
QUALITY = "python -m harness run suites/quality.yaml"


def main() -> None:
    """Show the chosen run at one length."""
    chosen = shell.run()
    if chosen is None:
        return
    selection = filters.bar(chosen)
    if selection is None:
        return
    lengths = tradeoffs.lengths(selection.rows)
    if not lengths:
        st.info("No cell of these settings has a number, so there is nothing to trade.")
        st.text("\n".join(_reasons(selection)))
        return
    length = choose_length(lengths)
    time_and_memory(selection, length)
    quality = choose_quality(selection)
    if quality:
        time_and_quality(selection, length, quality)
    budget(selection, length, quality)
    hashes(selection, length, quality)
    shell.notes(chosen)


def choose_length(lengths: Sequence[int]) -> int:
    """Show the measured lengths; the longest first, as that is what people come for."""
    if len(lengths) == 1:
        return lengths[0]
    return st.select_slider(
        "Sequence length (measured ones)",
        lengths,
        value=lengths[-1],
        format_func=theme.length,
        key="length",
        bind="query-params",
    )


def time_and_memory(selection: Selection, length: int) -> None:
    """Show who is unbeaten in time and memory together."""
    st.subheader("Time against memory", anchor=False)
    rows = selection.rows
    spots = tradeoffs.spots(rows, length, "latency", "peak_memory")
    if not spots:
        shell.unmeasured(
            f"No contender has both time and memory at {theme.length(length)} tokens.",
            charts.command(selection, "latency", "peak_memory"),
        )
        return
    best = sorted((spot for spot in spots if spot.best), key=lambda spot: spot.x)
    names = " and ".join(spot.line for spot in best)
    verb = "is" if len(best) == 1 else "are"
    finding = (
        f"At {theme.length(length)} tokens nobody beats {names} in time and memory together"
        if len(best) < len(spots)
        else f"At {theme.length(length)} tokens {names} {verb} unbeaten: less time costs memory"
    )
    st.text(f"{finding}.")
    figure = pareto(
        spots,
        selection.chosen.styles,
        shell.ink(),
        x=("Time per step", "s"),
        y=("Peak memory", "byte", "lower"),
    )
    shell.chart(figure, key="tradeoffs-memory", alt=finding, name=f"time-memory-{length}")
    caption(selection, "down and to the left is better; faded: another is better in both")
    left = tradeoffs.without(rows, length, ("latency", "peak_memory"))
    if left:
        st.text("Not drawn:\n" + "\n".join(f"  {line}" for line in left))


def choose_quality(selection: Selection) -> str | None:
    """Show the metrics of quality; where there are none, say what measures them."""
    st.subheader("Time against quality", anchor=False)
    found = tradeoffs.qualities(selection.rows)
    if not found:
        shell.unmeasured("What these contenders lose in quality was not measured here.", QUALITY)
        st.text("The error of approximation alone, without training, takes two minutes:")
        st.code(ERROR, language=None)
        return None
    if len(found) == 1:
        return found[0]
    return st.selectbox(
        "Quality",
        found,
        format_func=lambda name: theme.metric(name).quantity,
        key="quality",
        bind="query-params",
        width=320,
    )


def time_and_quality(selection: Selection, length: int, quality: str) -> None:
    """Show who is unbeaten in time and quality together."""
    rows = selection.rows
    spots = tradeoffs.spots(rows, length, "latency", quality)
    words = theme.metric(quality)
    if not spots:
        st.text(f"{words.quantity} and time were not measured together at this length.")
        return
    best = sorted((spot for spot in spots if spot.best), key=lambda spot: spot.x)
    finding = (
        f"At {theme.length(length)} tokens, from fast to good: "
        f"{', '.join(f'{spot.line} ({theme.digits(spot.y)})' for spot in best)}"
    )
    st.text(f"{finding}.")
    direction = tradeoffs.better(rows, quality)
    figure = pareto(
        spots,
        selection.chosen.styles,
        shell.ink(),
        x=("Time per step", "s"),
        y=(words.quantity, "1", direction),
    )
    shell.chart(figure, key="tradeoffs-quality", alt=finding, name=f"time-{quality}-{length}")
    caption(selection, "dotted: the frontier that nobody beats; faded: another is better in both")


def budget(selection: Selection, length: int, quality: str | None) -> None:
    """Show what fits a memory budget and a floor of quality, fastest first."""
    st.subheader("What fits my budget", anchor=False)
    with st.container(horizontal=True):
        memory = st.number_input(
            "Peak memory at most (MiB)",
            min_value=0.0,
            value=None,
            placeholder="any",
            key="memory",
            bind="query-params",
            width=260,
        )
        floor = None
        if quality:
            lower = tradeoffs.better(selection.rows, quality) == "lower"
            floor = st.number_input(
                f"{theme.metric(quality).quantity} at {'most' if lower else 'least'}",
                value=None,
                placeholder="any",
                key="floor",
                bind="query-params",
                width=320,
            )
    limit = None if memory is None else memory * MIB
    fit, out = tradeoffs.budget(selection.rows, length, limit, quality, floor)
    if fit:
        rows = [
            {
                "rank": i,
                "contender": line["contender"],
                "time": theme.quantity(line["time"], "s"),
                "peak memory": theme.quantity(line["memory"], "byte") if line["memory"] else "",
                **({theme.metric(quality).quantity: line["quality"]} if quality else {}),
            }
            for i, line in enumerate(fit, start=1)
        ]
        st.text(f"{len(fit)} of {len(fit) + len(out)} fit; the fastest is {fit[0]['contender']}.")
        shell.table(rows, key="budget", name=f"fits-{length}", alt="What fits, fastest first")
    else:
        st.warning("Nothing fits. Raise the memory or lower the demand on quality.")
    if out:
        st.text("Does not fit:\n" + "\n".join(f"  {line}" for line in out))


def hashes(selection: Selection, length: int, quality: str | None) -> None:
    """Show what more hash rounds buy and cost."""
    st.subheader("Hash rounds", anchor=False)
    found = tradeoffs.rungs(selection.rows, length, quality) if quality else []
    if len({rung.hashes for rung in found}) < 2:
        shell.unmeasured(
            "This selection has no contender at several numbers of hash rounds with a quality.",
            ERROR,
        )
        return
    words, better = theme.metric(quality or ""), tradeoffs.better(selection.rows, quality or "")
    few, many = found[0], found[-1]
    finding = (
        f"{few.line}, {many.others or 'all else equal'}: {words.quantity.lower()} at "
        f"{theme.length(length)} tokens by hash rounds (written at the points) against time"
    )
    st.text(f"{finding}.")
    figure = ladder(found, shell.ink(), y=(words.quantity, better))
    shell.chart(figure, key="tradeoffs-hashes", alt=finding, name=f"hashes-{quality}-{length}")
    caption(selection, "a point a number of rounds, a curve for each setting of the other options")


def caption(selection: Selection, words: str) -> None:
    """Show the conditions under a figure."""
    told = [f"{k} {v}" for k, v in charts.conditions(selection).items()]
    shell.caption(" · ".join([words, selection.phase, *told]))


def _reasons(selection: Selection) -> list[str]:
    rows = {
        f"{row['contender']} {theme.length(row['seq_len'])}: {row['outcome']}, {row['reason']}"
        for row in selection.rows
    }
    return sorted(rows)[:20]


main()
