"""What a machine tells of itself becomes findings with advice."""

from dataclasses import replace

import pytest

from harness.doctor import Examination, examine
from harness.floor import Floor
from harness.telling.checkup import findings, sheet

QUIET = {
    "processor": {
        "cores": 4, "virtualised": False, "governor": "performance", "min_khz": 1, "max_khz": 2,
        "turbo": False, "smt": False,
    },
    "activity": {"load_average": 0.1, "busy_share": 0.01, "steal_share": 0.0},
    "control_group": {"cpu_quota": None, "throttled": None, "memory_limit_bytes": None},
    "memory": {
        "total_bytes": 8 << 30, "available_bytes": 7 << 30, "swap_used_bytes": 0,
        "transparent_huge_pages": "madvise",
    },
    "threads": {
        "intra_operation": 1, "inter_operation": 1, "settings": {"OMP_WAIT_POLICY": "PASSIVE"},
    },
    "clock": {"source": "tsc", "cpu_step_ns": 300, "wall_step_ns": 40},
    "versions": {"python": "3.11", "torch": "2.13", "cuda": None, "driver": None, "kernel": "6"},
    "gpu": {
        "unknown": None, "other_processes": 0, "sm_mhz": 1000, "max_sm_mhz": 1980,
        "memory_mhz": 2619, "temperature_c": 40, "headroom_c": 47, "power_w": 100.0,
        "slowed_by": [], "throttled": False, "persistence": 1,
    },
}  # fmt: skip
FLOOR = Floor(
    cpu=0.01,
    wall=0.03,
    covered=0.95,
    median_ns=5_000_000,
    wall_over_cpu=1.01,
    launches=5,
    sittings=12,
)


def judged(topic: str, key: str, value: object, floor: Floor | str = FLOOR) -> dict[str, str]:
    facts = {**QUIET, topic: {**QUIET[topic], key: value}}
    return {f.topic: f.grade for f in findings(facts, floor)}


def test_a_quiet_machine_has_nothing_to_complain_of_and_no_advice() -> None:
    found = findings(QUIET, FLOOR)
    assert {f.grade for f in found} == {"fine"}
    assert {f.advice for f in found} == {""}


@pytest.mark.parametrize(
    ("topic", "key", "value", "finding"),
    [
        ("processor", "governor", "powersave", "frequency scaling"),
        ("processor", "turbo", True, "turbo"),
        ("processor", "smt", True, "simultaneous multithreading"),
        ("activity", "load_average", 3.0, "load"),
        ("activity", "busy_share", 0.5, "other work now"),
        ("activity", "steal_share", 0.05, "steal"),
        ("control_group", "cpu_quota", 2.0, "control group"),
        ("control_group", "throttled", 3, "control group"),
        ("memory", "available_bytes", 1 << 30, "memory"),
        ("memory", "swap_used_bytes", 1 << 30, "memory"),
        ("memory", "transparent_huge_pages", "always", "transparent huge pages"),
        ("threads", "settings", {}, "threads"),
        ("clock", "source", "hpet", "clock"),
        ("clock", "cpu_step_ns", 10_000_000, "clock"),
        ("gpu", "other_processes", 1, "GPU: other processes"),
        ("gpu", "throttled", True, "GPU: clocks"),
        ("gpu", "headroom_c", 3, "GPU: heat"),
    ],
)
def test_each_source_of_noise_is_found_alone_and_has_advice(topic, key, value, finding) -> None:
    grades = judged(topic, key, value)
    assert [name for name, grade in grades.items() if grade == "noisy"] == [finding]
    facts = {**QUIET, topic: {**QUIET[topic], key: value}}
    assert next(f.advice for f in findings(facts, FLOOR) if f.topic == finding)


@pytest.mark.parametrize(
    ("topic", "key", "finding"),
    [
        ("processor", "governor", "frequency scaling"),
        ("processor", "turbo", "turbo"),
        ("processor", "smt", "simultaneous multithreading"),
        ("activity", "load_average", "load"),
        ("activity", "steal_share", "steal"),
        ("memory", "transparent_huge_pages", "transparent huge pages"),
        ("gpu", "other_processes", "GPU: other processes"),
        ("gpu", "headroom_c", "GPU: heat"),
    ],
)
def test_what_a_system_does_not_tell_is_unknown_and_never_fine(topic, key, finding) -> None:
    assert judged(topic, key, None)[finding] == "unknown"


def test_no_gpu_is_told_with_its_reason() -> None:
    found = findings({**QUIET, "gpu": {"unknown": "no CUDA device"}}, FLOOR)
    assert [(f.told, f.grade) for f in found if f.topic == "GPU"] == [("no CUDA device", "none")]


@pytest.mark.parametrize(
    ("floor", "grade"),
    [
        (FLOOR, "fine"),
        (replace(FLOOR, cpu=0.05), "noisy"),
        (replace(FLOOR, wall=1, wall_over_cpu=3), "fine"),  # others are told of elsewhere
        ("not asked for", "unknown"),
    ],
)
def test_the_floor_is_told_and_judged(floor, grade: str) -> None:
    assert findings(QUIET, floor)[-1].grade == grade


def test_the_table_counts_what_is_noisy() -> None:
    found = findings({**QUIET, "activity": {**QUIET["activity"], "steal_share": 0.5}}, FLOOR)
    assert sheet(found).notes[0].startswith("1 of ")


class Machine:
    def examine(self):
        return QUIET

    def together(self, jobs, name, on_stage):
        raise AssertionError("nothing is to be measured")


def test_an_examination_without_a_floor_measures_nothing_and_is_json() -> None:
    found = examine(Machine(), pairs=0)
    assert isinstance(found, Examination)
    assert found.floor is None
    assert '"grade": "unknown"' in found.json
