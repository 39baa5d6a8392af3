from types import SimpleNamespace
from typing import Any

import pytest

from harness.worker.clocks import REASONS, ClockState, open_clocks


class FakeError(Exception):
    pass


class Library:
    """NVML of one device; each reading is a value, None, or an error to raise."""

    NVMLError = FakeError

    def __init__(self, **readings) -> None:
        told = {"sm": 1980, "memory": 3201, "max": 1980, "heat": 51, "power": 412_500, "events": 4}
        self.told = told | readings
        self.open = 0

    def _tell(self, what):
        value = self.told[what]
        if isinstance(value, Exception):
            raise value
        return value

    def nvmlInit(self):  # noqa: N802 - NVML's name
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802 - NVML's name
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802 - NVML's name
        return uuid

    def nvmlDeviceGetClockInfo(self, handle, kind):  # noqa: N802 - NVML's name
        return self._tell({1: "sm", 2: "memory"}[kind])

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):  # noqa: N802 - NVML's name
        assert kind == 1
        return self._tell("max")

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802 - NVML's name
        assert sensor == 0
        return self._tell("heat")

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802 - NVML's name
        return self._tell("power")

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802 - NVML's name
        return self._tell("events")


CUDA = SimpleNamespace(get_device_properties=lambda _: SimpleNamespace(uuid="card"))


def read(library):
    with open_clocks(library, CUDA) as clocks:
        assert library.open == 1
        state, unknown = clocks.read(), clocks.unknown
    assert library.open == 0
    return state, unknown


def test_a_reading_has_the_units_that_its_names_say() -> None:
    state, unknown = read(Library())
    assert (state.sm_mhz, state.memory_mhz) == (1980, 3201)
    assert (state.temperature_c, state.power_w) == (51, 412.5)
    assert state.words == ("sw_power_cap",)
    assert unknown is None


def test_a_power_cap_is_a_tag_and_no_throttling() -> None:
    state, _ = read(Library(sm=900))
    assert state.power_capped
    assert not state.throttled


@pytest.mark.parametrize("bit", [0x8, 0x20, 0x40, 0x80, 0x8 | 0x4])
def test_heat_and_hardware_limits_are_throttling(bit: int) -> None:
    assert read(Library(events=bit))[0].throttled


@pytest.mark.parametrize("bit", [0x0, 0x1, 0x2, 0x4, 0x10, 0x100])
def test_idling_settings_and_power_are_not(bit: int) -> None:
    assert not read(Library(events=bit))[0].throttled


def test_an_older_library_is_asked_under_the_older_name() -> None:
    library: Any = Library()
    library.nvmlDeviceGetCurrentClocksEventReasons = None  # it has no such function
    library.nvmlDeviceGetCurrentClocksThrottleReasons = lambda handle: 0x20
    assert read(library)[0].words == ("sw_thermal_slowdown",)


def test_an_older_driver_is_asked_under_the_older_name() -> None:
    class Older(Library):
        def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):  # noqa: N802 - NVML's name
            return 0x40

    assert read(Older(events=FakeError("Function Not Found")))[0].words == ("hw_thermal_slowdown",)


@pytest.mark.parametrize(("sm", "throttled"), [(1485, False), (1484, True), (None, False)])
def test_where_no_reasons_are_told_a_low_clock_is_throttling(sm, throttled: bool) -> None:
    state, _ = read(Library(sm=sm, events=FakeError("Not Supported")))
    assert state.words is None
    assert not state.power_capped
    assert state.throttled is throttled


@pytest.mark.parametrize("value", [None, FakeError("Not Supported")])
def test_what_is_not_told_is_none(value) -> None:
    told = dict.fromkeys(("sm", "memory", "max", "heat", "power", "events"), value)
    state, unknown = read(Library(**told))
    assert state == ClockState()
    assert unknown in {"NVML does not tell", "NVML: Not Supported"}


def test_without_a_device_every_reading_is_none_and_says_why() -> None:
    def fail(_):
        raise AssertionError("Torch not compiled with CUDA enabled")

    with open_clocks(Library(), SimpleNamespace(get_device_properties=fail)) as clocks:
        assert clocks.read() == ClockState()
        assert "no CUDA device" in str(clocks.unknown)


def test_every_bit_has_a_word_and_an_unknown_one_its_number() -> None:
    assert ClockState(reasons=sum(REASONS)).words == tuple(REASONS.values())
    assert ClockState(reasons=0x1200).words == ("0x200", "0x1000")
    assert ClockState(reasons=0).words == ()
