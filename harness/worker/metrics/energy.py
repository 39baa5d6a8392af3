"""Energy: joules per token over windows of seconds, with the idle device's share taken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.schema import Measurement, Unit
from harness.worker.energy_meter import Meter
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.workload import Workload

WINDOW_NS = 2_000_000_000  # at least; counters move every 10 to 100 ms
WINDOWS = 3
IDLE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Steps in a row and what they took."""

    joules: float
    seconds: float
    steps: int


def collect(bench: Bench) -> Findings:
    """Return `energy`, joules per token above idle, and `energy_total`, idle included.

    The idle device is measured in the same session, awake: after the first steps and before the
    windows. What cannot be read is no measurement, and a fact says why; a window that took no more
    than the idle device would have is none either.
    """
    work = bench.fresh()
    for _ in range(2):  # lazy initialisation and the optimizer's state are not to be weighed
        work.step()
    _wait(work, bench)
    unknown: list[str] = []
    with bench.meters(work.cell.device, bench.clock) as meters:
        for meter in meters:
            found = _weigh(work, meter, bench)
            if not isinstance(found, str):
                idle, windows = found
                return _findings(work, meter.method, idle, windows)
            unknown.append(f"{meter.method}: {found}")
    return Findings(measurements=(), facts={**work.facts, "energy_unknown": "; ".join(unknown)})


def _weigh(work: Workload, meter: Meter, bench: Bench) -> tuple[Window, list[Window]] | str:
    """Return the idle window and those of work, or why this meter tells nothing."""
    windows: list[Window] = []
    for one in (lambda: _rest(bench), *[lambda: _steps(work, bench)] * WINDOWS):
        found = _window(one, meter, bench)
        if isinstance(found, str):
            return found
        windows.append(found)
    return windows[0], windows[1:]


def _window(work: Callable[[], int], meter: Meter, bench: Bench) -> Window | str:
    steps, begin = 0, bench.clock.wall_ns()

    def counted() -> None:
        nonlocal steps
        steps = work()

    energy = meter.over(counted)
    seconds = (bench.clock.wall_ns() - begin) / 1e9
    if energy.joules is None:
        return energy.reason or "not told"
    return Window(joules=energy.joules, seconds=seconds, steps=steps)


def _rest(bench: Bench) -> int:
    bench.sleep(IDLE_S)
    return 0


def _steps(work: Workload, bench: Bench) -> int:
    """Step until the window is long enough, the device's queue included; return the steps."""
    begin, steps, block = bench.clock.wall_ns(), 0, 1
    while (elapsed := bench.clock.wall_ns() - begin) < WINDOW_NS:
        # Waiting after each step would weigh an idle device between short ones.
        if steps:
            block = max(1, min(1000, int((WINDOW_NS - elapsed) * steps / max(elapsed, 1) / 4)))
        for _ in range(block):
            work.step()
        _wait(work, bench)
        steps += block
    return steps


def _findings(work: Workload, method: str, idle: Window, windows: list[Window]) -> Findings:
    watts, tokens = idle.joules / idle.seconds, work.cell.tokens
    total = [w.joules / (w.steps * tokens) for w in windows]
    net = [(w.joules - watts * w.seconds) / (w.steps * tokens) for w in windows]
    facts: dict[str, Any] = {
        **work.facts,
        "energy_idle_w": round(watts, 3),
        "energy_w": [round(w.joules / w.seconds, 3) for w in windows],
        "energy_steps": [w.steps for w in windows],
    }
    found = [_joules("energy_total", total, f"{method}, per token, idle included")]
    if all(value > 0 for value in net):
        about = f"{method}, per token, {watts:.1f} W of the idle device taken off"
        found.insert(0, _joules("energy", net, about))
    else:
        facts["energy_unknown"] = "a window took no more than the idle device"
    return Findings(measurements=tuple(found), facts=facts)


def _joules(name: str, samples: list[float], method: str) -> Measurement:
    unit: Unit = "J"
    return Measurement(
        metric=name, unit=unit, better="lower", samples=tuple(samples), stop="enough", method=method
    )


def _wait(work: Workload, bench: Bench) -> None:
    if work.cell.device == "cuda":
        bench.cuda.synchronize()


METRIC = Metric(collect=collect, headline="energy")
