"""The bar of filters, the same on every page; what is chosen stands in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from dashboard import data, selecting, theme
from dashboard.data import Chosen, Selection
from dashboard.selecting import Settings

SHOWN_AS = {"seq_len": "length", "memory_bytes": "memory budget"}


def bar(chosen: Chosen, *, contenders: bool = True) -> Selection | None:
    """Show the filters of a run; None, with the culprit and a way back, where nothing is left."""
    phases = sorted(chosen.table["phase"].unique())
    with st.container(horizontal=True, vertical_alignment="top"):
        phase = choose("Phase", "phase", phases)
        settings: Settings = ()
        table = selecting.select(chosen.table, phase, settings)
        while left := selecting.settings(table):
            name, values = next(iter(left.items()))
            settings = (*settings, (name, choose(_title(name), name, values, _shown(name))))
            table = selecting.select(chosen.table, phase, settings)
        there = set(table["contender"].unique())
        names = [name for name in chosen.contenders if name in there]
        kept = _contenders(names) if contenders and len(names) > 1 else tuple(names)
    if not kept:
        st.warning("0 cells: no contender is chosen. Choose one above, or all of them here.")
        st.button("Show all contenders", on_click=_reset, args=("contender", names), key="reset")
        return None
    return data.selection(chosen, phase, settings, kept)


def choose(label: str, key: str, values: Sequence[Any], shown: Callable[[Any], str] = str) -> Any:
    """Show a choice, or nothing where there is none; say what of the address is not here."""
    asked = st.query_params.get(key)
    if asked is not None and asked not in {shown(value) for value in values}:
        told = ", ".join(shown(value) for value in values)
        st.session_state[f"_culprit_{key}"] = (
            f"0 cells: no {label.lower()} {asked!r} here; there is {told}."
        )
    if culprit := st.session_state.pop(f"_culprit_{key}", None):
        st.toast(theme.escape(culprit))
    if len(values) == 1:
        return values[0]
    return st.selectbox(label, values, key=key, bind="query-params", format_func=shown, width=200)


def _contenders(names: Sequence[str]) -> tuple[str, ...]:
    kept = st.pills(
        "Contenders (a click hides or shows one)",
        names,
        selection_mode="multi",
        default=names,
        key="contender",
        bind="query-params",
        width="stretch",
    )
    return tuple(name for name in names if name in kept)


def _reset(key: str, value: Any) -> None:
    st.session_state[key] = value


def _title(name: str) -> str:
    return SHOWN_AS.get(name, name.replace("_", " ")).capitalize()


def _shown(name: str) -> Callable[[Any], str]:
    def show(value: Any) -> str:
        if value is None:
            return "none"
        return theme.quantity(value, "byte") if name == "memory_bytes" else str(value)

    return show
