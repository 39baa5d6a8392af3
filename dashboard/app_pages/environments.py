"""Environments: what two runs were measured under, and what a difference forbids."""

from __future__ import annotations

import streamlit as st

from dashboard import conditions, data, shell
from harness import store
from harness.store import Environment


def main() -> None:
    """Choose two environments of any runs and show where they differ."""
    found = environments()
    if not found:
        return
    names = list(found)
    with st.container(horizontal=True):
        first = st.selectbox("First", names, key="first", bind="query-params")
        second = st.selectbox(
            "Second", names, index=min(1, len(names) - 1), key="second", bind="query-params"
        )
    base, other = found[first], found[second]
    if len({environment.id for environment in found.values()}) == 1:
        st.text(f"All {len(found)} runs here were measured in one environment.")
    difference(base, other)
    with st.expander("What both share", key="environments-shared"):
        st.dataframe(
            conditions.shared(base, other), hide_index=True, key="environments-same",
            alt="Shared conditions",
        )  # fmt: skip
    with st.expander("The first in full", key="environments-full"):
        st.dataframe(
            conditions.listing(base), hide_index=True, key="environments-all", alt="All conditions"
        )


def environments() -> dict[str, Environment]:
    """Return the environments of all runs, newest run first, named by run and id."""
    found: dict[str, Environment] = {}
    for run in shell.readable():
        for name, environment in store.environments(run.path).items():
            found[f"{run.path.name} · {name}"] = environment
    if not found and data.all_runs():
        st.info("No run here recorded an environment.")
    return found


def difference(base: Environment, other: Environment) -> None:
    """Show the keys that differ, those that forbid a comparison of times first."""
    rows = conditions.differences(base, other)
    if not rows:
        st.success("These environments are equal: times may be compared.")
        return
    barring = sum(row["severity"].startswith("invalidates") for row in rows)
    if barring:
        keys = ", ".join(row["key"] for row in rows[:3])
        st.warning("Times of these two must not be compared.")
        st.text(f"{barring} conditions forbid it, among them {keys}.")
    else:
        st.success("Times may be compared; the differences explain only.")
    shell.table(rows, key="environments", name="environments", alt=f"{len(rows)} differences")


main()
