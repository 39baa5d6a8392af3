"""What pages read: the runs to choose from, and the chosen one."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import curves
from dashboard.curves import Row
from harness import store
from harness.store import RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The run that all pages look at. Shared by all sessions: read, never change."""

    run_id: str
    question: str
    contenders: tuple[str, ...]  # in the order of the suite; the first is the baseline
    rows: list[Row]  # of `curves.records`
    environments: int
    notes: tuple[str, ...]
    fingerprint: str  # changes with the run; the key of every cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Those cells of a run that agree in every setting and differ in contender and length."""

    chosen: Chosen
    phase: str
    settings: tuple[tuple[str, Any], ...]  # those that had a choice, and what was chosen

    @property
    def rows(self) -> list[Row]:
        """The rows of these cells."""
        wanted = {"phase": self.phase, **dict(self.settings)}
        return [r for r in self.chosen.rows if all(r[k] == v for k, v in wanted.items())]

    @property
    def key(self) -> tuple[object, ...]:
        """What stands for the rows in a cache; they are too many to hash at each click."""
        return (self.chosen.fingerprint, self.phase, self.settings)


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


def chosen(path: Path) -> Chosen:
    """Return a run, from the cache while its files stay as they are."""
    return _read(path, store.fingerprint(path))


@st.cache_resource(max_entries=2, show_spinner="Reading the run")
def _read(path: Path, fingerprint: str) -> Chosen:
    run = store.open(path)
    return Chosen(
        run_id=run.header.run_id,
        question=run.header.question,
        contenders=tuple(contender.id for contender in run.header.contenders),
        rows=curves.records(store.frame(run)),
        environments=len({r.environment for r in run.results if r.environment}),
        notes=run.notes,
        fingerprint=fingerprint,
    )
