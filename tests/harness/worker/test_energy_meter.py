from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.worker.clock import Clock
from harness.worker.energy_meter import (
    CardCounter,
    CardPower,
    PackageCounters,
    integral,
    meters,
)
from harness.worker.nvml import Session


class FakeError(Exception):
    pass


def answering(**functions):
    """A card whose functions give one value after the other; None is what some drivers tell."""
    scripts = {name: iter(values) for name, values in functions.items()}

    def call(name):
        def ask(_card):
            value = next(scripts[name])
            if isinstance(value, Exception):
                raise value
            return value

        return ask

    library = SimpleNamespace(NVMLError=FakeError, **{name: call(name) for name in scripts})
    return Session(library=library, handle="device", card="card")


def nothing() -> None:
    pass


def counter(*values) -> CardCounter:
    return CardCounter(card=answering(nvmlDeviceGetTotalEnergyConsumption=values))


def test_the_counter_s_millijoules_are_joules() -> None:
    assert counter(1_000, 251_000).over(nothing).joules == 250.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((FakeError("Not Supported"),), "NVML: Not Supported"),
        ((None,), "does not tell"),
        ((5, FakeError("GPU is lost")), "GPU is lost"),
        ((5, 5), "did not move"),
        ((500, 3), "went backwards"),
    ],
)
def test_a_counter_that_tells_nothing_says_why(values, words: str) -> None:
    found = counter(*values).over(nothing)
    assert found.joules is None
    assert found.reason is not None
    assert words in found.reason


def test_a_missing_library_is_a_reason() -> None:
    found = CardCounter(card=Session(reason="nvidia-ml-py is not installed")).over(nothing)
    assert found.joules is None
    assert found.reason == "nvidia-ml-py is not installed"


def test_power_is_integrated_by_trapezoids() -> None:
    second = 1_000_000_000
    assert integral([(0, 100.0), (second, 200.0), (3 * second, 100.0)]) == 150 + 300


def test_power_between_the_ends_of_a_window_is_sampled() -> None:
    ticks = count(0, 1_000_000_000)
    clock = Clock(wall_ns=lambda: next(ticks))
    card = answering(nvmlDeviceGetPowerUsage=(100_000, 300_000))
    power = CardPower(card=card, clock=clock, interval_s=3600)
    assert power.over(nothing).joules == 200.0


def test_a_window_s_power_sampler_works_beside_the_work() -> None:
    seen = []
    card: Any = SimpleNamespace(
        ask=lambda *_args, **_kwargs: SimpleNamespace(value=seen.append(1) or 50_000, reason=None)
    )

    def work() -> None:
        while len(seen) < 4:
            pass

    found = CardPower(card=card, clock=Clock(), interval_s=0.001).over(work)
    assert found.joules is not None
    assert found.joules > 0


@pytest.mark.parametrize("values", [(None,), (FakeError("no"),), (5, None)])
def test_power_that_cannot_be_read_says_why(values) -> None:
    card = answering(nvmlDeviceGetPowerUsage=values)
    found = CardPower(card=card, clock=Clock(), interval_s=3600).over(nothing)
    assert found.joules is None
    assert found.reason


def zone(root: Path, name: str, kind: str, energy: int | None = 100) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "max_energy_range_uj").write_text("1000\n")
    if energy is not None:
        (folder / "energy_uj").write_text(f"{energy}\n")
    return folder


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    packages = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}") for i in range(2)]
    parts = [zone(tmp_path, "intel-rapl:0:0", "core"), zone(tmp_path, "intel-rapl:2", "psys")]

    def work() -> None:
        for folder in (*packages, *parts):
            (folder / "energy_uj").write_text("600\n")

    assert PackageCounters(powercap=tmp_path).over(work).joules == pytest.approx(1000e-6)


def test_a_package_s_counter_that_ran_over_begins_again(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 900)

    def work() -> None:
        (folder / "energy_uj").write_text("50\n")

    found = PackageCounters(powercap=tmp_path).over(work)
    assert found.joules == pytest.approx(150e-6)


def test_no_package_and_an_unreadable_one_say_so(tmp_path: Path) -> None:
    meter = PackageCounters(powercap=tmp_path)
    assert "no RAPL package" in (meter.over(nothing).reason or "")
    zone(tmp_path, "intel-rapl:0", "package-0", None)
    assert (meter.over(nothing).reason or "").startswith("RAPL: FileNotFoundError")
    assert str(tmp_path) not in (meter.over(nothing).reason or "")


def test_a_cpu_is_asked_by_its_packages_and_a_card_by_counter_then_power(tmp_path: Path) -> None:
    with meters("cpu", Clock(), powercap=tmp_path) as found:
        assert [meter.method for meter in found] == ["RAPL, all processor packages"]
    with meters("cuda", Clock()) as found:
        assert [meter.method for meter in found] == [
            "NVML total energy counter",
            "NVML power, integrated",
        ]
