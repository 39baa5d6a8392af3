"""Live: the suites that run now: what is done, what is left, and whether the writer breathes."""

from __future__ import annotations

import time

import streamlit as st

from dashboard import data, shell, theme
from harness import store
from harness.store import Pulse, RunSummary, StoreError

EVERY_S = 2.0
SILENT_S = 120.0  # without a line for so long, a reader should know


def main() -> None:
    """Show the running suites, or how to start one."""
    found = shell.readable()
    if not found:
        return
    watch()


@st.fragment(run_every=EVERY_S)
def watch() -> None:
    """Look at the shards again and again, without a rerun of the page."""
    running = [run for run in data.all_runs() if run.state == "running"]
    if not running:
        st.info("No suite runs now. This starts one; this page then follows it:")
        st.code(shell.SMOKE, language=None)
        stopped()
        return
    for run in running:
        one(run)


def one(run: RunSummary) -> None:
    """Show one running suite."""
    try:
        pulse = store.pulse(run.path)
    except StoreError as error:
        st.text(str(error))
        return
    done = sum(pulse.outcomes.values())
    planned = max(run.planned, done)
    st.subheader(theme.escape(run.run_id), anchor=False)
    st.progress(done / max(1, planned), text=f"{done} of {planned} cells, {left(pulse, planned)}")
    with st.container(horizontal=True):
        for outcome, n in sorted(pulse.outcomes.items()):
            st.metric(outcome.replace("_", " ").capitalize(), n, border=True)
    if pulse.current:
        st.text(f"Now: {pulse.current}, for {seconds(time.time() - pulse.current_since_s)}")
    age = time.time() - pulse.written_s
    if age > SILENT_S:
        st.warning(f"The last line is {seconds(age)} old: a long cell, or a writer that hangs.")
    else:
        st.text(f"Heartbeat: the last line was written {seconds(age)} ago.")


def left(pulse: Pulse, planned: int) -> str:
    """Return the time left, from the pace so far; later cells are usually longer."""
    done = sum(pulse.outcomes.values())
    if done < 2 or done >= planned:
        return "time left not known yet"
    pace = (pulse.written_s - pulse.began_s) / done
    return f"about {seconds(pace * (planned - done))} left at the pace so far, or more"


def stopped() -> None:
    """Offer to go on with what was interrupted."""
    for run in data.all_runs():
        if run.state == "interrupted":
            st.text(f"{run.run_id} was interrupted; this goes on with it:")
            st.code(f"python -m harness run --resume {run.path.name}", language=None)
            return


def seconds(span: float) -> str:
    """Return a span of time as people say it."""
    if span < 90:
        return f"{max(0.0, span):.0f} s"
    return f"{span / 60:.0f} min" if span < 5400 else f"{span / 3600:.1f} h"


main()
