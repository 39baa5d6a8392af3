"""What pages share: the chosen run, charts with their words, tables with their files, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import conditions, data, theme
from dashboard.data import Chosen
from dashboard.theme import Ink
from harness.store import RunSummary, StoreError

SMOKE = "python -m harness run suites/smoke.yaml"
BUTTONS = ["select2d", "lasso2d", "autoScale2d"]


def ink() -> Ink:
    """Return the colours of the page's theme."""
    return theme.INK[st.context.theme.type or "light"]


def readable() -> list[RunSummary]:
    """Return the runs that can be read; what is wrong with the others stands on the page."""
    asked = data.arguments()
    try:
        found = data.runs(asked.root, asked.runs)
    except StoreError as error:
        st.error("A run that was asked for is not there.")
        st.text(str(error))
        return []
    for run in (run for run in found if run.problem):
        st.warning("A folder cannot be read as a run.")
        st.text(str(run.problem))
    whole = [run for run in found if run.problem is None]
    if not whole:
        empty()
    return whole


def empty() -> None:
    """Say that there is nothing, and which command changes that."""
    st.info("There are no runs here yet. This measures a first one in under a minute:")
    st.code(SMOKE, language=None)


def run() -> Chosen | None:
    """Show the choice of the run; None, with the reason on the page, where there is none."""
    whole = {run.path.name: run for run in readable()}
    if not whole:
        return None
    name = st.selectbox("Run", list(whole), key="run", bind="query-params")
    try:
        chosen = data.chosen(whole[name].path)
    except StoreError as error:
        st.error("This run cannot be read.")
        st.text(str(error))
        return None
    caption(describe(whole[name], chosen))
    if chosen.table.empty:
        st.info("This run has no results yet. If it was interrupted, this goes on with it:")
        st.code(f"python -m harness run --resume {chosen.run_id}", language=None)
        return None
    return chosen


def describe(run: RunSummary, chosen: Chosen) -> str:
    """Return one line about a run: when, how far, on what."""
    done = sum(run.outcomes.values())
    when = run.created_at.replace("T", " ")[:16]
    where = conditions.badge(list(chosen.environments.values()))
    parts = [f"{when} UTC", f"{run.state}, {done} of {max(done, run.planned)} cells", where]
    return " · ".join(part for part in parts if part)


def way(label: str, page: str, *, key: str, **state: str) -> None:
    """Show a way to another page with its filters set.

    A link alone would not do: what a session has chosen once wins over its address.
    """
    if st.button(theme.escape(label), key=key, on_click=_put, args=(state,)):
        st.switch_page(f"app_pages/{page}.py", query_params=state)


def _put(state: Mapping[str, str]) -> None:
    st.session_state.update(state)


def caption(text: str) -> None:
    """Show text in small letters; `st.caption` is too pale to be read by all (WCAG 2.2, 1.4.3)."""
    st.markdown(f":small[{theme.escape(text)}]")


def notes(chosen: Chosen) -> None:
    """Show what a reader of the run should know."""
    if len(chosen.environments) > 1:
        st.text(
            f"Note: measured in {len(chosen.environments)} environments; times of different "
            "machines are not comparable (see Environments)."
        )
    for note in chosen.notes:
        st.text(f"Note: {note}")


def chart(figure: go.Figure, *, key: str, alt: str, name: str) -> None:
    """Show a figure in the colours of the page, with its finding for those who cannot see it."""
    st.plotly_chart(
        figure,
        theme=None,
        key=key,
        alt=alt,
        config={
            "displaylogo": False,
            "modeBarButtonsToRemove": BUTTONS,
            "toImageButtonOptions": {"filename": name, "scale": 2},
        },
    )


def table(rows: Sequence[Mapping[str, Any]], *, key: str, name: str, alt: str) -> None:
    """Show rows and offer them as CSV and Markdown."""
    frame = pd.DataFrame(list(rows))
    st.dataframe(frame, hide_index=True, key=f"{key}-table", alt=alt)
    with st.container(horizontal=True):
        st.download_button(
            "CSV", frame.to_csv(index=False), f"{name}.csv", "text/csv", key=f"{key}-csv"
        )
        st.download_button(
            "Markdown",
            "\n".join(theme.markdown_table(rows)) + "\n",
            f"{name}.md",
            "text/markdown",
            key=f"{key}-markdown",
        )


def unmeasured(what: str, command: str) -> None:
    """Say what was not measured and which command measures it."""
    st.info(f"{what} This measures it:")
    st.code(command, language=None)
