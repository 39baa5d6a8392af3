"""A suite: one YAML file that asks a question, checked strictly and expanded into cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.frontier import Search
from harness.grammar import (
    coherence,
    contenders,
    document,
    fields,
    frontiers,
    grid,
    protocols,
    rules,
    sections,
    trainings,
)
from harness.grammar.document import SuiteError, read
from harness.grammar.grid import Grid, Ruled, order
from harness.grammar.node import Node
from harness.grammar.overrides import apply
from harness.grammar.selection import select
from harness.grammar.tasks import TASKS
from harness.schema import DEVICES, Cell, Contender, Evaluation, Protocol, Training
from models.catalog import Catalog, unknown

__all__ = [
    "Grid",
    "Ruled",
    "Suite",
    "SuiteError",
    "devices",
    "expand",
    "learning",
    "load",
    "metric_summaries",
    "order",
    "parse",
    "protocol",
    "read",
    "search",
    "select",
    "summaries",
    "task_summaries",
]

T = TypeVar("T")
STDLIB = "stdlib"  # the corpus when a suite names none
VARIANTS = Catalog("models.variants", "VARIANT", group="attention_harness.variants")
METRICS = Catalog("harness.worker.metrics", "METRIC")
_REQUIRED = ("version", "name", "question", "contenders", "metrics")
_OPTIONAL = ("axes", "fixed", "frontier", "protocol", "gate", "exclude", "include", "data")
_LEARNING = ("training", "eval")
MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What a suite file says, checked; values that may differ by device are maps by device."""

    source: str  # the file, as it was named
    name: str
    question: str
    contenders: tuple[Contender, ...]  # the first is the baseline
    axes: Mapping[str, Mapping[str, tuple[Any, ...]]]  # field or options.<name> -> device -> values
    fixed: Mapping[str, Mapping[str, Any]]  # field -> device -> value, defaults included
    metrics: tuple[str, ...]  # names of files in worker/metrics/
    protocol: Mapping[str, Protocol]  # by device
    gate: Mapping[str, Mapping[str, float]]  # metric -> threshold -> value
    exclude: tuple[rules.Rule, ...]
    include: tuple[rules.Rule, ...]  # takes back what exclude leaves out
    data_path: str | None  # absolute; None: the standard library's sources
    frontier: Mapping[str, Search]  # what is searched for, by device; empty: the cells are a grid
    training: Mapping[str, Training]  # by device, of cells with a task
    evaluation: Mapping[str, Evaluation]
    text: str  # verbatim YAML
    overrides: tuple[str, ...] = ()  # --set path=value, as given


def load(
    path: Path,
    overrides: Sequence[str] = (),
    variants: Catalog = VARIANTS,
    metrics: Sequence[str] | None = None,
) -> Suite:
    """Read and check a suite file.

    Args:
        path: the YAML file.
        overrides: `path=value` changes, applied before anything is checked.
        variants: the known mechanisms; their files are read, not imported.
        metrics: the known metrics; None: the files of harness/worker/metrics/.

    Raises:
        SuiteError: all that is wrong, each with its place and the nearest match.
    """
    return parse(read(path), str(path), overrides, variants, metrics)


def parse(
    text: str,
    source: str,
    overrides: Sequence[str] = (),
    variants: Catalog = VARIANTS,
    metrics: Sequence[str] | None = None,
) -> Suite:
    """Check the text of a suite; `source` names its place in messages.

    Raises:
        SuiteError: as `load`.
    """
    tree = document.parse(text, source)
    problems = apply(tree, overrides)
    top = Node(tree, "", problems).record(_REQUIRED, (*_OPTIONAL, *_LEARNING))
    known = METRICS.names() if metrics is None else metrics
    suite = _suite(top, source, variants, known)
    suite = replace(suite, text=text, overrides=tuple(overrides))
    if "contenders" in top:
        problems.extend(coherence.problems(suite.contenders, suite.axes, suite.fixed))
    learning = [name for name in _LEARNING if name in top]
    problems.extend(coherence.training_problems(suite.metrics, learning, suite.axes, suite.fixed))
    if not problems:
        problems.extend(_expansion_problems(suite))
    if problems:
        raise SuiteError(*(f"{source}: {problem}" for problem in _first(problems)))
    return suite


def expand(suite: Suite, device: str) -> Grid:
    """Return a suite's cells on a machine with this device, in declared order.

    A suite that fixes or sweeps its device has the cells of that device.

    Raises:
        SuiteError: the device is unknown or the suite has no values for it.
    """
    cells: list[Cell] = []
    for actual in devices(suite, device):
        cells.extend(_cells(suite, actual))
    return grid.judge(cells, suite.exclude, suite.include)


def devices(suite: Suite, device: str) -> tuple[str, ...]:
    """Return the devices of a suite's cells: its own, or `device` where it leaves them open.

    Raises:
        SuiteError: the device is unknown.
    """
    if device not in DEVICES:
        raise SuiteError(f"{suite.source}: {unknown('device', device, list(DEVICES))}")
    if "device" in suite.axes:
        return suite.axes["device"].get(device, ())
    fixed = suite.fixed["device"].get(device, fields.AUTO)
    return (device,) if fixed == fields.AUTO else (fixed,)


def protocol(suite: Suite, device: str) -> Protocol:
    """Return how a suite measures on a machine with this device."""
    actual = devices(suite, device)
    return suite.protocol[actual[0] if actual else device]


def search(suite: Suite, device: str) -> Search | None:
    """Return what a suite searches for on a machine with this device; None for a grid."""
    return suite.frontier.get(next(iter(devices(suite, device)), device))


def learning(suite: Suite, device: str) -> tuple[Training | None, Evaluation | None]:
    """Return how a suite trains and judges on a machine with this device; None without tasks."""
    if "task" not in suite.axes and "task" not in suite.fixed:
        return None, None
    actual = next(iter(devices(suite, device)), device)
    return suite.training[actual], suite.evaluation[actual]


def task_summaries() -> list[tuple[str, str]]:
    """Return each task's name and what it is; imports none of them."""
    return [(name, TASKS.summary(name)) for name in TASKS.names()]


def metric_summaries() -> list[tuple[str, str]]:
    """Return each metric's name and what it is; imports none of them."""
    return [(name, METRICS.summary(name)) for name in METRICS.names()]


def summaries(folder: Path) -> list[tuple[str, str]]:
    """Return each suite file of a folder with its question, or with what is wrong with it."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found.append((str(path), load(path).question))
        except SuiteError as error:
            found.append((str(path), f"cannot be run: {error.problems[0]}"))
    return found


def _suite(
    top: Mapping[str, Node], source: str, variants: Catalog, metrics: Sequence[str]
) -> Suite:
    """Check every section; what a faulty one would hold is left empty."""

    def section(key: str, check: Callable[[Node], T | None], otherwise: T) -> T:
        value = check(top[key]) if key in top else None
        return otherwise if value is None else value

    section("version", sections.version, None)
    entries = section("contenders", lambda node: contenders.read(node, variants), ())
    ids = [entry.id for entry in entries]
    axes = section("axes", fields.axes, {})
    fixed = section("fixed", fields.fixed, {})
    chosen = section("metrics", lambda node: sections.metrics(node, metrics), ())
    searches = section("frontier", frontiers.search, {})
    axes = frontiers.starts(top.get("frontier"), searches, axes, fixed, chosen)
    return Suite(
        source=source,
        name=section("name", contenders.name, ""),
        question=section("question", Node.text, ""),
        contenders=entries,
        axes=axes,
        fixed=fields.with_defaults(fixed, axes),
        metrics=chosen,
        protocol=protocols.protocols(top.get("protocol")),
        gate=section("gate", lambda node: sections.gate(node, chosen or metrics), {}),
        exclude=section("exclude", lambda node: rules.rules(node, ids, variants.names()), ()),
        include=section("include", lambda node: rules.rules(node, ids, variants.names()), ()),
        data_path=section("data", sections.data, None),
        frontier=searches,
        training=trainings.training(top.get("training")),
        evaluation=trainings.evaluation(top.get("eval")),
        text="",
    )


def _first(problems: Sequence[str]) -> list[str]:
    """Return each problem once, and not more than a reader reads."""
    unique = list(dict.fromkeys(problems))
    rest = len(unique) - MAX_PROBLEMS
    return [*unique[:MAX_PROBLEMS], f"and {rest} more problems"] if rest > 0 else unique


def _expansion_problems(suite: Suite) -> tuple[str, ...]:
    """Expand for each device; a suite need not have values for all, but for one."""
    lost: dict[str, tuple[str, ...]] = {}
    for device in DEVICES:
        actual = devices(suite, device)
        lost[device] = tuple(problem for one in actual for problem in _lost(suite, one))
        if lost[device]:
            continue
        try:
            expand(suite, device)
        except SuiteError as error:
            return error.problems
    return () if any(not problems for problems in lost.values()) else lost[DEVICES[0]]


def _lost(suite: Suite, device: str) -> list[str]:
    named = [(f"axes.{name}", by) for name, by in suite.axes.items()]
    named += [(f"fixed.{name}", by) for name, by in suite.fixed.items()]
    return [f"{path}: has no value for {device!r}" for path, by in named if device not in by]


def _cells(suite: Suite, device: str) -> list[Cell]:
    lost = _lost(suite, device)
    if lost:
        raise SuiteError(*(f"{suite.source}: {problem}" for problem in lost))
    axes = {name: by[device] for name, by in suite.axes.items() if name != "device"}
    fixed = {name: by[device] for name, by in suite.fixed.items()}
    data = STDLIB if suite.data_path is None else Path(suite.data_path).name
    return grid.points(suite.contenders, axes, {**fixed, "device": device, "data": data})
