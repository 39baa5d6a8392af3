from contextlib import nullcontext
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from harness.worker.clock import Clock
from harness.worker.energy_meter import Energy
from harness.worker.metric import Bench
from harness.worker.metrics import energy
from harness.worker.metrics.energy import collect

STEP_NS = 100_000_000


class Device:
    """Takes 10 W at rest and some joules for each step; time passes with steps and sleep only."""

    def __init__(self, per_step: float = 3.0) -> None:
        self.now_ns, self.joules, self.steps, self.per_step = 0, 0.0, 0, per_step

    def clock(self) -> Clock:
        return Clock(wall_ns=lambda: self.now_ns)

    def rest(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)
        self.joules += 10 * seconds

    def step(self) -> None:
        self.steps += 1
        self.now_ns += STEP_NS
        self.joules += 10 * STEP_NS / 1e9 + self.per_step


class Meter:
    method = "a perfect meter"

    def __init__(self, device: Device, reasons: tuple[str | None, ...] = ()) -> None:
        self.device, self.reasons, self.turn = device, dict(enumerate(reasons)), count()

    def over(self, work) -> Energy:
        reason = self.reasons.get(next(self.turn))
        if reason is not None:
            return Energy(reason=reason)
        before = self.device.joules
        work()
        return Energy(joules=self.device.joules - before)


def bench(job, device: Device, /, *meters: Meter, **changes) -> Bench:
    cell = job(**changes).cell
    work: Any = SimpleNamespace(cell=cell, step=device.step, facts={})
    return Bench(
        job=job(**changes),
        build=lambda _job: work,
        clock=device.clock(),
        meters=lambda _device, _clock: nullcontext(meters),
        sleep=device.rest,
        cuda=SimpleNamespace(synchronize=lambda: None),
    )


def test_the_idle_device_s_energy_is_taken_off(job) -> None:
    device = Device(per_step=3.0)
    found = collect(bench(job, device, Meter(device)))
    tokens = job().cell.tokens
    values = {m.metric: m for m in found.measurements}
    assert values["energy"].samples == pytest.approx([3.0 / tokens] * energy.WINDOWS)
    assert values["energy_total"].samples == pytest.approx([4.0 / tokens] * energy.WINDOWS)
    assert values["energy"].unit == "J"
    assert "a perfect meter" in values["energy"].method
    assert "10.0 W of the idle device" in values["energy"].method
    assert found.facts["energy_idle_w"] == 10


def test_a_window_is_at_least_two_seconds_long(job) -> None:
    device = Device()
    found = collect(bench(job, device, Meter(device)))
    assert all(steps * STEP_NS >= 2e9 for steps in found.facts["energy_steps"])
    assert energy.WINDOW_NS >= 2e9


def test_a_meter_that_tells_nothing_hands_over_to_the_next(job) -> None:
    device = Device()
    found = collect(bench(job, device, Meter(device, ("no counter",)), Meter(device)))
    assert {m.metric for m in found.measurements} == {"energy", "energy_total"}


@pytest.mark.parametrize("fails_in_window", range(1 + energy.WINDOWS))
def test_without_any_meter_there_is_no_figure_and_a_reason(job, fails_in_window: int) -> None:
    device = Device()
    reasons = (None,) * fails_in_window + ("it stopped",)
    found = collect(bench(job, device, Meter(device, reasons)))
    assert found.measurements == ()
    assert found.facts["energy_unknown"] == "a perfect meter: it stopped"


def test_a_step_that_takes_no_more_than_rest_has_no_energy_above_idle(job) -> None:
    device = Device(per_step=0.0)
    found = collect(bench(job, device, Meter(device)))
    assert [m.metric for m in found.measurements] == ["energy_total"]
    assert "no more than the idle device" in found.facts["energy_unknown"]


def test_on_cuda_the_queue_is_waited_for_before_a_window_ends(job) -> None:
    device, waits = Device(), []
    asked = bench(job, device, Meter(device), device="cuda")
    asked.cuda.synchronize = lambda: waits.append(device.steps)
    collect(asked)
    assert waits[-1] == device.steps
    assert waits[0] == 2  # the first steps are over before the idle device is measured
