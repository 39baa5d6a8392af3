"""What a gate is asked, in its several ways: runs, files and revisions become cases to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from harness import baseline, imports, launches, suite
from harness.gate import Case, Mode, Rule, Terms
from harness.grammar import waiving
from harness.judging.waivers import Waiver
from harness.schema import Environment, Run
from harness.suite import SuiteError

WAIVERS = Path("suites/waivers.yaml")  # read where it exists, unless another is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asks of any gate."""

    waivers: Path | None = None
    forced: bool = False
    rule: Rule = field(default_factory=Rule)
    today: date | None = None  # None: today

    @property
    def day(self) -> date:
        """The day for waivers and the age of a stored base."""
        return self.today or datetime.now(UTC).date()

    def accepted(self) -> tuple[Waiver, ...]:
        """Return the waivers that were named, or those of the usual file if there is one."""
        if self.waivers is not None:
            return waiving.read(self.waivers)
        return waiving.read(WAIVERS) if WAIVERS.exists() else ()


def against_baseline(run: Run, file: Path, asked: Asked) -> Case:
    """Return the case of a stored run against a baseline.

    Raises:
        BaselineError: the file is no whole baseline.
        SuiteError: the run's own suite cannot be read.
    """
    base = baseline.read(file)
    terms = Terms(
        mode=Mode.STORED,
        declared=(frozenset(base.by_cell), declared(run)),
        rule=asked.rule,
        limits={**run.header.gate, **base.header.gate},
        forced=asked.forced,
    )
    return Case(
        base=base,
        candidate=run,
        terms=terms,
        waivers=asked.accepted(),
        today=asked.day,
        names=(str(file), run.header.run_id),
    )


def files(base: Sequence[Path], candidate: Sequence[Path], asked: Asked) -> Case:
    """Return the case of pytest-benchmark's files: one file is one launch, in the order given.

    The benchmark as its name has it is the cell: a missing one is a regression. Times of both
    sides are taken as interleaved if the environments are equal.

    Raises:
        ImportFileError: a file is no such document.
    """
    sides = (_merged(base), _merged(candidate))
    caveats = [
        f"{len(given)} file{'s' * (len(given) != 1)} of the {name}: {asked.rule.launches} launches "
        "are the fewest that are judged; one process says nothing of how the next will differ"
        for name, given in (("base", base), ("candidate", candidate))
        if len(given) < asked.rule.launches
    ]
    ids = [frozenset(run.by_cell) for run in sides]
    terms = Terms(
        mode=Mode.INTERLEAVED,
        declared=(ids[0], ids[0] | ids[1]),
        rule=asked.rule,
        forced=asked.forced,
    )
    return Case(
        base=sides[0],
        candidate=sides[1],
        terms=terms,
        waivers=asked.accepted(),
        today=asked.day,
        names=(_named(base), _named(candidate)),
        caveats=tuple(caveats),
    )


def declared(run: Run) -> frozenset[str]:
    """Return the cells that a run's suite declares, whatever was chosen of them or stored.

    Where the suite is not here any more (plugins, imported files) it is what the run had planned.
    """
    header = run.header
    planned = frozenset(cell.id for cell in header.cells)
    if header.plugins or not header.cells or header.frontier is not None:
        return planned
    try:
        loaded = suite.parse(header.suite_text, header.run_id, header.overrides)
        grid = suite.expand(loaded, header.cells[0].device)
    except SuiteError:
        return planned
    return frozenset(cell.id for cell in (*grid.cells, *(ruled.cell for ruled in grid.excluded)))


def _merged(given: Sequence[Path]) -> Run:
    """Return files as the launches of one run."""
    runs = [imports.read(file) for file in given]
    first = runs[0]
    merged = dict(first.by_cell)
    for run in runs[1:]:
        for name, result in run.by_cell.items():
            known = merged.get(name)
            merged[name] = result if known is None else launches.merge(known, result)
    results = tuple(merged.values())
    environments: dict[str, Environment] = {}
    for run in runs:
        environments |= run.environments
    header = replace(first.header, cells=tuple(result.cell for result in results))
    return Run(header=header, results=results, environments=environments)


def _named(given: Sequence[Path]) -> str:
    return given[0].name if len(given) == 1 else f"{len(given)} files ({given[0].name}, ...)"
