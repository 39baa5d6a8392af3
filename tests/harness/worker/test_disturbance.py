"""What else happened on the machine is told beside the times."""

from pathlib import Path

import pytest

from harness.worker.disturbance import Counters, Machine, disturbance

STAT = "cpu  100 1 20 300 5 0 7 {stolen} 50 0\ncpu0 1 2 3\n"


def counters(stolen: int | None, ticks: int, waits: int = 0, preemptions: int = 0) -> Counters:
    return Counters(stolen=stolen, ticks=ticks, waits=waits, preemptions=preemptions)


def test_steal_is_the_eighth_counter_and_guests_are_not_counted_twice(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text(STAT.format(stolen=40))
    found = Machine(stat=stat).counters()
    assert (found.stolen, found.ticks) == (40, 473)


@pytest.mark.parametrize("text", [None, "cpu  1 2 3 4\n"])
def test_a_system_that_does_not_count_steal_has_none(tmp_path: Path, text: str | None) -> None:
    stat = tmp_path / "stat"
    if text is not None:
        stat.write_text(text)
    assert Machine(stat=stat).counters().stolen is None


def test_shares_and_counts_are_those_between_the_two_readings() -> None:
    before, after = counters(10, 1000, 5, 7), counters(30, 2000, 6, 17)
    found = disturbance(before, after, 1.5, cpu=(100, 100), wall=(110, 190))
    assert found == {
        "wall_over_cpu": [1.5],
        "steal_share": [0.02],
        "load_average": [1.5],
        "waits": [1],
        "preemptions": [10],
    }


def test_what_is_not_told_is_null_not_zero() -> None:
    found = disturbance(counters(None, 0), counters(None, 0), None, cpu=(0,), wall=(5,))
    assert (found["steal_share"], found["load_average"]) == ([None], [None])
    assert found["wall_over_cpu"] == [None]


def test_a_system_without_a_load_average_has_none() -> None:
    def refuse() -> tuple[float, float, float]:
        raise OSError

    assert Machine(load=refuse).load_average() is None
