"""What of this machine makes numbers noisy, and what to do about it: facts to findings, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.floor import Floor
from harness.telling import units
from harness.telling.tables import Sheet

Grade = Literal["fine", "noisy", "unknown", "none"]
Facts = Mapping[str, Any]
GIB = 1 << 30
FLOOR = 0.02  # differences of equal things that we find acceptable
STEAL = 0.01
CONTENDED = 1.15  # wall over CPU time of one thread, above which others had the processor
HEADROOM_C = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    told: str  # what was found, in words
    grade: Grade  # `none`: there is no such thing here
    advice: str = ""  # what to do; empty where there is nothing


def findings(facts: Facts, floor: Floor | str) -> tuple[Finding, ...]:
    """Judge what a machine told of itself.

    Args:
        facts: of `harness.worker.examination`, by topic.
        floor: the A/A floor, or why it could not be measured.
    """
    return (
        *_processor(facts["processor"]),
        *_activity(facts["activity"], facts["processor"]),
        *_limits(facts["control_group"], facts["memory"]),
        *_settings(facts["threads"], facts["clock"]),
        *_gpu(facts["gpu"]),
        _versions(facts["versions"]),
        _floor(floor),
    )


def sheet(found: Sequence[Finding]) -> Sheet:
    """Return the findings as a table."""
    rows = tuple((f.topic, f.told, f.grade, f.advice) for f in found)
    noisy = sum(f.grade == "noisy" for f in found)
    note = f"{noisy} of {len(found)} findings make numbers noisy; nothing was changed"
    return Sheet(
        title="this machine", header=("", "found", "grade", "advice"), rows=rows, notes=(note,)
    )


def _processor(facts: Facts) -> list[Finding]:
    governor, low, high = facts["governor"], facts["min_khz"], facts["max_khz"]
    scaling = "not told" if governor is None else f"governor {governor}"
    if low and high:
        scaling += f", {low / 1e6:.1f} to {high / 1e6:.1f} GHz"
    virtual = " (a virtual machine: the host decides)" if facts["virtualised"] else ""
    return [
        _finding(
            "frequency scaling",
            scaling + virtual,
            None if governor is None else governor != "performance" and low != high,
            "set the governor to performance, or trust ratios of interleaved cells only",
        ),
        _finding(
            "turbo",
            _on(facts["turbo"]),
            facts["turbo"],
            "turn turbo off, or keep the machine equally warm: clocks fall as it heats up",
        ),
        _finding(
            "simultaneous multithreading",
            _on(facts["smt"]),
            facts["smt"],
            "a neighbour on the same core slows a step down: leave the sibling idle",
        ),
    ]


def _activity(facts: Facts, processor: Facts) -> list[Finding]:
    load, cores = facts["load_average"], processor["cores"] or 1
    steal = facts["steal_share"]
    return [
        _finding(
            "load",
            "not told" if load is None else f"{load:.2f} on {cores} processors",
            None if load is None else load > 0.5 * cores,
            "stop other work; on a CPU compare process CPU time, not wall time",
        ),
        _finding(
            "other work now",
            f"processors {units.percent(facts['busy_share'])} busy while this process slept",
            facts["busy_share"] > 0.1,
            "find it with top; it takes caches and memory bandwidth, too",
        ),
        _finding(
            "steal",
            "not told" if steal is None else units.percent(steal),
            None if steal is None else steal > STEAL,
            "the hypervisor gives processors to others: take a machine of your own",
        ),
    ]


def _limits(group: Facts, memory: Facts) -> list[Finding]:
    quota, throttled = group["cpu_quota"], group["throttled"]
    told = "no processor quota" if quota is None else f"{quota:g} processors"
    told += "" if throttled is None else f", throttled {throttled} times"
    free, total, swap = (
        memory[key] for key in ("available_bytes", "total_bytes", "swap_used_bytes")
    )
    pages = memory["transparent_huge_pages"]
    return [
        _finding(
            "control group",
            told,
            quota is not None or bool(throttled),
            "a quota stops processes in the middle of a step: raise it or ask for whole processors",
        ),
        _finding(
            "memory",
            f"{free / GIB:.1f} of {total / GIB:.1f} GiB free, {swap / GIB:.1f} GiB swapped out",
            free < 0.2 * total or swap > 0,
            "free memory before measuring: pages that come back from swap cost milliseconds",
        ),
        _finding(
            "transparent huge pages",
            pages or "not told",
            None if pages is None else pages == "always",
            "`always` makes peak memory jump by 2 MiB and times depend on luck: set madvise",
        ),
    ]


def _settings(threads: Facts, clock: Facts) -> list[Finding]:
    own = ", ".join(f"{key}={value}" for key, value in threads["settings"].items())
    active = threads["settings"].get("OMP_WAIT_POLICY", "").upper() != "PASSIVE"
    step = clock["cpu_step_ns"]
    return [
        _finding(
            "threads",
            f"{threads['intra_operation']} within an operation; {own or 'no settings'}",
            active,
            "waiting OpenMP threads spin and are billed as CPU time: OMP_WAIT_POLICY=PASSIVE",
        ),
        _finding(
            "clock",
            f"{clock['source'] or 'unknown source'}; CPU time moves by {step:,} ns",
            step > 100_000 or clock["source"] not in {None, "tsc", "arch_sys_counter", "kvm-clock"},
            "a coarse or slow clock blurs short steps: loop longer ones, or boot with clocksource",
        ),
    ]


def _gpu(facts: Facts) -> list[Finding]:
    if facts["unknown"] is not None:
        return [Finding(topic="GPU", told=facts["unknown"], grade="none")]
    others, room, slowed = facts["other_processes"], facts["headroom_c"], facts["slowed_by"]
    clocks = f"SM {facts['sm_mhz']} of {facts['max_sm_mhz']} MHz, memory {facts['memory_mhz']} MHz"
    return [
        _finding(
            "GPU: other processes",
            "not told" if others is None else str(others),
            None if others is None else others > 0,
            "two processes on one device take turns: stop the others",
        ),
        _finding(
            "GPU: clocks",
            f"{clocks}; {'not told why' if slowed is None else ', '.join(slowed) or 'nothing'}"
            " slows it",
            facts["throttled"],
            "let it cool down, raise the power limit, or lock clocks where you may",
        ),
        _finding(
            "GPU: heat",
            f"{facts['temperature_c']} C, {'unknown' if room is None else room} C below slowing",
            None if room is None else room < HEADROOM_C,
            "wait for it to cool down, or expect clocks to fall in the middle of a run",
        ),
    ]


def _versions(facts: Facts) -> Finding:
    told = ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
    return Finding(topic="versions", told=told, grade="fine")


def _floor(found: Floor | str) -> Finding:
    if isinstance(found, str):
        return Finding(topic="A/A floor", told=found, grade="unknown")
    return _finding(
        "A/A floor",
        f"{units.percent(found.cpu)} of CPU time, {units.percent(found.wall)} of wall time "
        f"({found.launches} pairs of launches in turns, {units.quantity(found.median_ns, 'ns')} "
        f"steps; intervals hold 1 in {units.percent(found.covered)}; "
        f"wall / CPU {found.wall_over_cpu:.2f})",
        found.cpu > FLOOR,
        "believe no difference below three times this; raise protocol.launches or wait for quiet",
    )


def _finding(topic: str, told: str, noisy: bool | None, advice: str) -> Finding:
    grades: Mapping[bool | None, Grade] = {None: "unknown", False: "fine", True: "noisy"}
    return Finding(topic=topic, told=told, grade=grades[noisy], advice=advice if noisy else "")


def _on(flag: bool | None) -> str:
    return "not told" if flag is None else "on" if flag else "off"
