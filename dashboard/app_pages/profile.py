"""Profile: where time and memory go over length, and how near the device's limits that is."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from dashboard import charts, data, filters, profiles, shell, theme
from dashboard.data import Selection
from dashboard.figures.profile import breakdown, roofline, timeline, words
from dashboard.profiles import Split
from harness import store
from harness.roofline import peaks
from harness.store import Result

LARGEST = 50 * 2**20  # bytes of an artifact that a page reads
TIMELINE = "memory_timeline.json"


def main() -> None:
    """Show the chosen run."""
    chosen = shell.run()
    if chosen is None:
        return
    selection = filters.bar(chosen, contenders=False)
    if selection is None:
        return
    contender = st.selectbox(
        "Contender", selection.contenders, key="profiled", bind="query-params", width=320
    )
    families(selection, contender)
    roofs(selection)
    ledger(selection, contender)
    files(selection, contender)
    shell.notes(chosen)


def families(selection: Selection, contender: str) -> None:
    """Show which families of kernels or operations a step spends its time in."""
    st.subheader("Where the time goes", anchor=False)
    found = profiles.split(selection.rows, contender, profiles.PREFIX)
    if found is None:
        shell.unmeasured(
            f"{contender} was not profiled in this selection.",
            charts.command(selection, "profile"),
        )
        return
    show = st.segmented_control(
        "Show as", ["share", "milliseconds"], default="share", required=True,
        key="as", bind="query-params",
    )  # fmt: skip
    finding = told(found, contender, "of the step")
    st.text(finding)
    figure = breakdown(found, shell.ink(), share=show == "share")
    name = f"profile-{contender}-{selection.phase}"
    shell.chart(figure, key="profile-families", alt=finding, name=name)
    shell.caption(
        f"mean of the profiled steps; {found.method}; a profiled step takes longer than a "
        "timed one, so read shares here and times on Scaling"
    )
    table(found, "profile", name, finding)
    top(selection, contender)


def told(found: Split, contender: str, of: str) -> str:
    """Return the largest part at the longest length in words."""
    last = len(found.lengths) - 1
    name, values = max(found.parts.items(), key=lambda part: part[1][last])
    whole = found.whole(last) or 1.0
    return (
        f"At {theme.length(found.lengths[last])} tokens the largest part of {contender} is "
        f"{words(name)}: {theme.quantity(values[last], found.unit)}, "
        f"{100 * values[last] / whole:.0f} % {of}."
    )


def table(found: Split, key: str, name: str, finding: str) -> None:
    """Show the numbers of a breakdown."""
    with st.expander("Numbers", key=f"{key}-numbers"):
        rows = [
            {
                "part": words(part),
                **{
                    theme.length(n): theme.quantity(v, found.unit)
                    for n, v in zip(found.lengths, values, strict=True)
                },
            }
            for part, values in found.parts.items()
        ]
        shell.table(rows, key=key, name=name, alt=finding)


def top(selection: Selection, contender: str) -> None:
    """Show the largest kernels of the longest profiled cell."""
    result = _longest(selection, contender, profiles.STEP)
    profile: Any = result.facts.get("profile") if result else None
    if not isinstance(profile, dict) or not profile.get("top"):
        return
    assert result is not None
    with st.expander(f"Largest kernels at {theme.length(result.cell.seq_len)}", key="profile-top"):
        rows = [
            {
                "kernel or operation": name,
                "family": words(family),
                "calls a step": calls,
                "own time": theme.quantity(ns / 1e9, "s"),
            }
            for name, family, ns, calls in profile["top"]
        ]
        shell.table(rows, key="kernels", name="kernels", alt="Largest kernels of a step")


def roofs(selection: Selection) -> None:
    """Show the cells under what the device can do."""
    st.subheader("How near the device's limit", anchor=False)
    found = profiles.roofs(selection.rows)
    if not found:
        shell.unmeasured(
            "Without FLOPs and time there is no roofline.", charts.command(selection, "flops")
        )
        return
    result = _longest(selection, found[-1].line, "intensity")
    environment = selection.chosen.environments.get((result and result.environment) or "")
    known = peaks(result, environment) if result else ()
    best = max(found, key=lambda roof: roof.share or roof.rate)
    reached = f", {best.share:.0%} of the bound" if best.share is not None else ""
    finding = (
        f"Nearest its bound: {best.line} at {theme.length(best.length)} tokens with "
        f"{theme.quantity(best.rate, 'flop/s')}{reached}."
    )
    st.text(finding)
    figure = roofline(found, known, selection.chosen.styles, shell.ink())
    shell.chart(figure, key="profile-roofline", alt=finding, name=f"roofline-{selection.phase}")
    sources = "; ".join(f"{peak.source}: {peak.method}" for peak in known) or "no peak is known"
    shell.caption(f"points: the measured lengths of a contender · ceilings: {sources}")
    left = profiles.roofless(selection.rows)
    if left:
        st.text(f"Not drawn, as their FLOPs or bytes are not known: {', '.join(left)}.")


def ledger(selection: Selection, contender: str) -> None:
    """Show what the peak of memory consists of, and bytes over time."""
    st.subheader("Where the memory goes", anchor=False)
    found = profiles.split(selection.rows, contender, profiles.LEDGER)
    if found is None:
        shell.unmeasured(
            f"{contender} has no memory ledger in this selection.",
            charts.command(selection, "memory_ledger"),
        )
        return
    finding = told(found, contender, "of the peak")
    st.text(finding)
    figure = breakdown(found, shell.ink(), share=False)
    name = f"ledger-{contender}-{selection.phase}"
    shell.chart(figure, key="profile-ledger", alt=finding, name=name)
    table(found, "ledger", name, finding)
    moments(selection, contender)


def moments(selection: Selection, contender: str) -> None:
    """Show allocated bytes over the time of a step, of the longest cell that has them."""
    result = _longest(selection, contender, profiles.TOTAL)
    if result is None:
        return
    paths = store.artifacts(selection.chosen.path, result.cell.id)
    path = next((path for path in paths if path.name == TIMELINE), None)
    if path is None or path.stat().st_size > LARGEST:
        st.text("No timeline of memory was kept with this run.")
        return
    try:
        found = profiles.timeline(json.loads(path.read_bytes()))
    except (ValueError, TypeError, LookupError) as error:
        st.text(f"{path.name} cannot be read: {error}")
        return
    if found is None:
        return
    length = theme.length(result.cell.seq_len)
    peak = max(map(sum, zip(*found.accounts.values(), strict=True)), default=0.0)
    finding = f"{contender} at {length} tokens: at most {theme.quantity(peak, 'byte')} allocated"
    st.text(f"{finding}.")
    budget = result.cell.memory_bytes
    figure = timeline(found, shell.ink(), budget)
    shell.chart(figure, key="profile-timeline", alt=finding, name=f"timeline-{contender}")
    shell.caption(
        f"{found.kept} of {found.changes} changes are drawn; of each stretch the highest."
    )


def files(selection: Selection, contender: str) -> None:
    """Offer traces for a viewer of the reader's choice; nothing is opened elsewhere."""
    st.subheader("Traces", anchor=False)
    cells = dict.fromkeys(
        (row["seq_len"], row["cell_id"]) for row in selection.rows if row["contender"] == contender
    )
    found = [
        (length, path)
        for length, cell in sorted(cells)
        for path in store.artifacts(selection.chosen.path, cell)
        if path.name.startswith("trace")
    ]
    if not found:
        st.text("No trace was kept. The metric profile leaves one a cell.")
        return
    st.text("For Perfetto or chrome://tracing; this page sends nothing there.")
    with st.container(horizontal=True):
        for length, path in found:
            size = theme.quantity(path.stat().st_size, "byte")
            label = theme.escape(f"{theme.length(length)}: {size}")
            key = f"trace-{contender}-{length}"
            name = f"{contender}-{length}-{path.name}"
            st.download_button(label, path.read_bytes, name, key=key)


def _longest(selection: Selection, contender: str, metric: str) -> Result | None:
    cells = [
        (row["seq_len"], row["cell_id"])
        for row in selection.rows
        if row["contender"] == contender and row["metric"] == metric and row["n"]
    ]
    return data.result(selection.chosen, max(cells)[1]) if cells else None


main()
