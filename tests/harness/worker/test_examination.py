"""A machine tells of itself through files; what it does not tell is null."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.worker import clocks, examination, nvml
from harness.worker.disturbance import Machine

FILES = {
    "proc/cpuinfo": "flags : fpu hypervisor sse\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "800000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "3500000\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "sys/devices/system/cpu/smt/active": "1\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_throttled 7\n",
    "sys/fs/cgroup/memory.max": "1073741824\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_scaling_turbo_and_siblings_are_read(root: Path) -> None:
    found = examination.processor(root)
    assert found["governor"] == "powersave"
    assert (found["min_khz"], found["max_khz"]) == (800_000, 3_500_000)
    assert (found["turbo"], found["smt"], found["virtualised"]) == (True, True, True)


def test_an_amd_machine_tells_its_boost(tmp_path: Path) -> None:
    boost = tmp_path / "sys/devices/system/cpu/cpufreq/boost"
    boost.parent.mkdir(parents=True)
    boost.write_text("0\n")
    assert examination.processor(tmp_path)["turbo"] is False


def test_limits_of_control_groups_of_both_versions_are_read(root: Path, tmp_path: Path) -> None:
    wanted = {"cpu_quota": 1.5, "throttled": 7, "memory_limit_bytes": 1 << 30}
    assert examination.control_group(root) == wanted
    old = tmp_path / "old"
    for name, text in {
        "cpu/cpu.cfs_quota_us": "150000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "cpu/cpu.stat": "nr_throttled 7\n",
        "memory/memory.limit_in_bytes": "1073741824\n",
    }.items():
        file = old / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert examination.control_group(old) == wanted


def test_a_limit_that_is_none_reads_as_none(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    assert set(examination.control_group(tmp_path).values()) == {None}


def test_huge_pages_and_the_time_source_are_read(root: Path) -> None:
    assert examination.memory(root)["transparent_huge_pages"] == "madvise"
    found = examination.clock(root)
    assert found["source"] == "tsc"
    assert found["wall_step_ns"] > 0
    assert found["cpu_step_ns"] > 0


def test_a_system_without_these_files_is_examined_all_the_same(tmp_path: Path) -> None:
    found = examination.examine(tmp_path, sleep=lambda _s: None)
    assert found["processor"]["governor"] is None
    assert found["activity"]["steal_share"] is None
    assert found["clock"]["source"] is None
    assert found["gpu"]["unknown"]
    assert found["versions"]["torch"]


def test_steal_is_the_share_while_watching(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu 0 0 0 100 0 0 0 0\n")

    def watch(_s: float) -> None:
        stat.write_text("cpu 0 0 0 175 0 0 0 25\n")

    found = examination.activity(Machine(stat=stat), watch)
    assert found["steal_share"] == 0.25


def test_only_settings_that_are_set_are_told() -> None:
    found = examination.threads({"OMP_NUM_THREADS": "1", "HOME": "/nobody"})
    assert found["settings"] == {"OMP_NUM_THREADS": "1"}


class Device:
    """A session of the management library on an invented device."""

    reason = None

    def __init__(self, **told: object) -> None:
        self.told = told

    def ask(self, function: str, *arguments: object, card: bool = False) -> nvml.Reading:
        return nvml.Reading(value=self.told.get(function))


def gpu(monkeypatch: pytest.MonkeyPatch, state: clocks.ClockState, **told: object) -> dict:
    device = Device(**told)
    reader = SimpleNamespace(read=lambda: state, max_sm_mhz=1980)
    monkeypatch.setattr(nvml, "session", lambda *_: contextlib.nullcontext(device))
    monkeypatch.setattr(clocks, "open_clocks", lambda *_: contextlib.nullcontext(reader))
    return examination.gpu()


def test_room_below_slowing_and_other_processes_are_told(monkeypatch) -> None:
    state = clocks.ClockState(sm_mhz=1000, temperature_c=40, reasons=0x4)
    found = gpu(
        monkeypatch, state,
        nvmlDeviceGetTemperatureThreshold=87,
        nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=1)],
    )  # fmt: skip
    assert (found["headroom_c"], found["other_processes"]) == (47, 1)
    assert found["slowed_by"] == ["sw_power_cap"]


def test_a_device_that_tells_nothing_is_null(monkeypatch) -> None:
    found = gpu(monkeypatch, clocks.ClockState())
    assert found["headroom_c"] is None
    assert found["other_processes"] is None
    assert found["slowed_by"] is None
