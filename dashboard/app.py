"""The dashboard's door: settings of the page, choice of the run, navigation."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import data
from harness.store import RunSummary, StoreError

PAGES = Path(__file__).parent / "app_pages"


def main() -> None:
    """Choose a run, then show the page that looks at it."""
    st.set_page_config(page_title="Attention benchmarks", layout="wide")
    pages = [st.Page(PAGES / "scaling.py", title="Scaling", default=True)]
    page = st.navigation(pages, position="top")
    st.session_state["chosen"] = choose_run()
    page.run()


def choose_run() -> data.Chosen | None:
    """Show the choice of runs; None, with the reason on the page, where there is none."""
    asked = data.arguments()
    try:
        found = data.runs(asked.root, asked.runs)
    except StoreError as error:
        st.error("A run that was asked for is not there.")
        st.text(str(error))
        return None
    for run in (run for run in found if run.problem):
        st.warning("A folder cannot be read as a run.")
        st.text(str(run.problem))
    whole = {run.path.name: run for run in found if run.problem is None}
    if not whole:
        st.info("There are no runs here yet. This measures a first one in under a minute:")
        st.code("python -m harness run suites/smoke.yaml", language="bash")
        return None
    name = st.selectbox("Run", list(whole), key="run", bind="query-params")
    st.caption(describe(whole[name]))
    try:
        return data.chosen(whole[name].path)
    except StoreError as error:
        st.error("This run cannot be read.")
        st.text(str(error))
        return None


def describe(run: RunSummary) -> str:
    """Return one line about a run."""
    done = sum(run.outcomes.values())
    when = run.created_at.replace("T", " ")[:16]
    return f"{when} UTC · {run.state}, {done} of {run.planned} cells"


main()
