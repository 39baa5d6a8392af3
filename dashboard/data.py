"""What pages read: the runs to choose from, the chosen one, cells, comparisons. Cached by files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from dashboard import curves, lines, looks, selecting
from dashboard.curves import Row
from dashboard.looks import Style
from dashboard.selecting import Settings, Table
from harness import compare, store
from harness.compare import Comparison
from harness.store import Environment, Outline, Result, RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The run that pages look at. Shared by all sessions: read, never change."""

    path: Path
    outline: Outline
    contenders: tuple[str, ...]  # lines, in the order of the suite; the first is the baseline
    styles: Mapping[str, Style]  # by line
    swept: tuple[str, ...]  # options in which lines of one contender differ
    table: Table  # of `lines.lines`
    environments: Mapping[str, Environment]
    notes: tuple[str, ...]
    fingerprint: str  # changes with the run; the key of every cache

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.outline.header.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Those cells of a run that agree in every setting and differ in contender and length."""

    chosen: Chosen
    phase: str
    settings: Settings
    contenders: tuple[str, ...]  # those that are shown
    rows: list[Row]  # of `curves.records`

    @property
    def key(self) -> tuple[object, ...]:
        """What stands for the rows in a cache; they are too many to hash at each click."""
        return (self.chosen.fingerprint, self.phase, self.settings, self.contenders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What `python -m dashboard` was told."""

    root: Path
    runs: tuple[str, ...]  # show these only; empty: all


def arguments() -> Arguments:
    """Read the arguments behind `--` of the Streamlit command."""
    parser = argparse.ArgumentParser(prog="dashboard")
    parser.add_argument("--root", type=Path, default=store.RESULTS)
    parser.add_argument("runs", nargs="*")
    given = parser.parse_args(sys.argv[1:])
    return Arguments(root=given.root, runs=tuple(given.runs))


@st.cache_data(ttl=5, max_entries=4, show_spinner=False)
def runs(root: Path, names: tuple[str, ...]) -> list[RunSummary]:
    """Return the runs to choose from, newest first, broken ones last.

    Raises:
        StoreError: a name that was asked for is no run.
    """
    if not names:
        return store.runs(root)
    folders = [store.resolve(name, root) for name in names]
    found = {run.path.resolve(): run for folder in folders for run in store.runs(folder.parent)}
    return [found[folder.resolve()] for folder in folders]


def all_runs() -> list[RunSummary]:
    """Return the readable runs, newest first; none where a name that was asked for is no run."""
    asked = arguments()
    try:
        return [run for run in runs(asked.root, asked.runs) if run.problem is None]
    except store.StoreError:
        return []


def chosen(path: Path) -> Chosen:
    """Return a run, from the cache while its files stay as they are."""
    return _chosen(path, store.fingerprint(path))


@st.cache_resource(max_entries=3, show_spinner="Reading the run")
def _chosen(path: Path, fingerprint: str) -> Chosen:
    outline = store.outline(path)
    names = [contender.id for contender in outline.header.contenders]
    found = lines.lines(store.frame(path), names)
    used = set(found.table["environment"].dropna().unique())
    return Chosen(
        path=path,
        outline=outline,
        contenders=found.order,
        styles=looks.styles((line, found.variants[line]) for line in found.order),
        swept=found.swept,
        table=found.table,
        environments={k: v for k, v in store.environments(path).items() if k in used},
        notes=store.notes(path),
        fingerprint=fingerprint,
    )


def selection(found: Chosen, phase: str, settings: Settings, names: tuple[str, ...]) -> Selection:
    """Return a selection with its rows as plain values."""
    table = selecting.select(found.table, phase, settings)
    table = table[table["contender"].isin(names)]
    return Selection(
        chosen=found,
        phase=phase,
        settings=settings,
        contenders=names,
        rows=curves.records(table),
    )


def history(paths: tuple[Path, ...]) -> Table:
    """Return the table of several runs; a progress bar stands on the page while it is made."""
    fresh = [path for path in paths if not store.is_kept(path)]
    if len(fresh) > 1:
        bar = st.progress(0.0)
        for done, path in enumerate(fresh):
            bar.progress(done / len(fresh), text=f"Reading run {done + 1} of {len(fresh)}, once")
            store.keep(path)
        bar.empty()
    return _history(paths, tuple(store.fingerprint(path) for path in paths))


@st.cache_resource(max_entries=2, show_spinner=False)
def _history(paths: tuple[Path, ...], prints: tuple[str, ...]) -> Table:
    del prints  # only a key
    return store.frame(*paths)


def comparison(base: Path, candidate: Path) -> Comparison:
    """Return the comparison of two runs."""
    return _comparison(base, candidate, (store.fingerprint(base), store.fingerprint(candidate)))


@st.cache_resource(max_entries=4, show_spinner="Comparing")
def _comparison(base: Path, candidate: Path, prints: tuple[str, str]) -> Comparison:
    del prints  # only a key
    return compare.compare_runs(store.open(base), store.open(candidate))


def result(found: Chosen, cell_id: str) -> Result | None:
    """Return one cell in full: facts, measurements with launches, stage."""
    return _result(found.path, cell_id, found.fingerprint)


@st.cache_resource(max_entries=64, show_spinner=False)
def _result(path: Path, cell_id: str, fingerprint: str) -> Result | None:
    del fingerprint  # only a key
    return store.result(path, cell_id)
