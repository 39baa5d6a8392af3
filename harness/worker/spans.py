"""What a profiler's events say of each step: time by family and by name.

On a CPU an operation's time is its own, without what it called; on CUDA it is that of the kernels
it launched. A step's time is what its region lasted, or from its first kernel's beginning to its
last one's end, so that what no operation or kernel explains is told and not left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.worker.kernel_families import AUTOGRAD, OTHER, UNATTRIBUTED, of_name, of_region

STEP = "attention-harness step"  # name of the region around each step
_NS_PER_US = 1000  # the profiler's events count microseconds
_ENGINE = ("autograd::", "torch::autograd::", "torch::jit::")  # what only calls operations


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Time of one name in one step."""

    step: int
    name: str
    family: str
    ns: float
    calls: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Where the time of the profiled steps went."""

    steps: tuple[float, ...]  # ns of each
    families: Mapping[str, tuple[float, ...]]  # ns in each step, the largest family first
    names: Sequence[tuple[str, str, float, float]]  # name, family, ns and calls a step; sorted

    @property
    def explained(self) -> float:
        """Share of the steps' time that operations or kernels with a family account for."""
        rest = sum(sum(self.families.get(name, ())) for name in (OTHER, UNATTRIBUTED))
        return 1 - rest / sum(self.steps)


def break_down(events: Iterable[Any], device: str) -> Breakdown:
    """Return where the time of each step went.

    Args:
        events: of `torch.profiler`, as `profile.events()` gives them.
        device: of the cell.

    Raises:
        ValueError: no step is among the events.
    """
    events = list(events)
    ranges = [_range(e) for e in events if e.name == STEP and _on_host(e)]
    if not ranges:
        raise ValueError("the profiler has seen no step")
    if device == "cuda":
        times = [_device_span(events, begin, end) for begin, end in ranges]
        spent = list(_on_device(events, ranges))
    else:
        times = [end - begin for begin, end in ranges]
        spent = list(_on_cpu(events, ranges))
    return _add_up(times, spent)


def _on_cpu(events: list[Any], ranges: list[tuple[float, float]]) -> Iterator[Spent]:
    families: dict[int, str | None] = {}
    for event in events:
        step = _step_of(event, ranges)
        if step is None or event.name == STEP or not _on_host(event):
            continue
        family = _region(event, families) or _family(event.name)
        own = event.self_cpu_time_total * _NS_PER_US
        yield Spent(step=step, name=event.name, family=family, ns=own)


def _on_device(events: list[Any], ranges: list[tuple[float, float]]) -> Iterator[Spent]:
    """Yield the kernels that operations launched, then those that nothing is known to have."""
    families: dict[int, str | None] = {}
    linked: defaultdict[tuple[int, str], float] = defaultdict(float)
    for event in events:
        step = _step_of(event, ranges)
        if step is None or not _on_host(event):
            continue
        for kernel in event.kernels:
            family = _region(event, families) or _family(event.name, kernel.name)
            ns = kernel.duration * _NS_PER_US
            linked[step, kernel.name] += ns
            yield Spent(step=step, name=kernel.name, family=family, ns=ns)
    for event in events:
        step = _step_of(event, ranges)
        if step is None or not _is_kernel(event):
            continue
        begin, end = _range(event)
        known = min(end - begin, linked[step, event.name])
        linked[step, event.name] -= known
        if end - begin > known:
            family, ns = of_name(event.name), end - begin - known
            yield Spent(step=step, name=event.name, family=family, ns=ns)


def _add_up(times: list[float], spent: list[Spent]) -> Breakdown:
    totals: dict[str, list[float]] = {}
    ns: defaultdict[tuple[str, str], float] = defaultdict(float)
    calls: Counter[tuple[str, str]] = Counter()
    for each in spent:
        totals.setdefault(each.family, [0.0] * len(times))[each.step] += each.ns
        ns[each.name, each.family] += each.ns
        calls[each.name, each.family] += each.calls
    rest = totals.setdefault(UNATTRIBUTED, [0.0] * len(times))
    for step, time in enumerate(times):
        # Kernels on several streams may overlap: then nothing is left over.
        rest[step] += max(0.0, time - sum(values[step] for values in totals.values()))
    order = sorted(totals, key=lambda family: -sum(totals[family]))
    return Breakdown(
        steps=tuple(times),
        families={family: tuple(totals[family]) for family in order},
        names=[
            (name, family, total / len(times), calls[name, family] / len(times))
            for (name, family), total in sorted(ns.items(), key=lambda item: -item[1])
        ],
    )


def _family(operation: str, kernel: str = "") -> str:
    """Return the family by the operation's name or, where that says nothing, by its kernel's."""
    if "::" in operation and not operation.startswith(_ENGINE):
        found = of_name(operation)
        if found != OTHER or not kernel:
            return found
    return of_name(kernel) if kernel else AUTOGRAD


def _region(event: Any, known: dict[int, str | None]) -> str | None:
    """Return the family of the innermost region around an event."""
    if event.id not in known:
        parent = event.cpu_parent
        known[event.id] = of_region(event.name) or (_region(parent, known) if parent else None)
    return known[event.id]


def _step_of(event: Any, ranges: list[tuple[float, float]]) -> int | None:
    """Return the step in which an event begins, on whatever thread or stream."""
    begin, _ = _range(event)
    return next((i for i, (start, end) in enumerate(ranges) if start <= begin < end), None)


def _device_span(events: list[Any], start: float, end: float) -> float:
    kernels = [_range(e) for e in events if _is_kernel(e)]
    inside = [(begin, stop) for begin, stop in kernels if start <= begin < end]
    return max(stop for _, stop in inside) - min(begin for begin, _ in inside) if inside else 0.0


def _range(event: Any) -> tuple[float, float]:
    return event.time_range.start * _NS_PER_US, event.time_range.end * _NS_PER_US


def _on_host(event: Any) -> bool:
    return event.device_type.name == "CPU"


def _is_kernel(event: Any) -> bool:
    return not _on_host(event) and not getattr(event, "is_user_annotation", False)
