"""Turns at a sitting, as the process that is timed sees them."""

import os
import socket
import threading

import pytest

from harness.referee import Referee
from harness.schema import Protocol, Seat
from harness.worker.clock import Clock
from harness.worker.host_timing import COLD_NS, SHARED_NS, time_host
from harness.worker.turns import CHUNK_NS, Alone, Seated, pin, take

MS = 1_000_000


class Given:
    """So many turns, and what was said at the end of each."""

    shared = True

    def __init__(self, turns: int) -> None:
        self.left, self.said, self.is_ready = turns, [], False

    def ready(self) -> None:
        self.is_ready = True

    def mine(self) -> bool:
        assert self.is_ready
        self.left -= 1
        return self.left >= 0

    def end(self, stop: str | None) -> None:
        self.said.append(stop)


class Machine:
    """Steps of a fixed length, `wait` times as long on the wall; counts those under the clock."""

    def __init__(self, step_ns: int, wait: int = 1) -> None:
        self.step_ns, self.wait, self.cpu, self.taken = step_ns, wait, 0, 0
        self.clock = Clock(cpu_ns=lambda: self.cpu, wall_ns=lambda: self.cpu * self.wait)

    def step(self) -> None:
        self.cpu += self.step_ns
        self.taken += 1


def protocol(**changes) -> Protocol:
    return Protocol(**{"min_samples": 3, "max_samples": 1000, "min_time_s": 0.0} | changes)


def test_a_turn_lasts_a_chunk_and_begins_with_a_step_that_nobody_times() -> None:
    machine, turns = Machine(SHARED_NS), Given(3)
    times = time_host(machine.step, protocol(), machine.clock, turns)
    each = CHUNK_NS // SHARED_NS
    assert len(times.cpu) == 3 * each
    assert machine.taken == len(times.cpu_warmups) + 3 * (1 + each)


def test_a_long_step_is_one_turn_without_a_step_before() -> None:
    machine, turns = Machine(COLD_NS), Given(3)
    times = time_host(machine.step, protocol(), machine.clock, turns)
    assert len(times.cpu) == 3
    assert machine.taken == len(times.cpu_warmups) + 3


def test_short_steps_are_looped_longer_in_turns_than_alone() -> None:
    machine = Machine(MS)
    assert time_host(machine.step, protocol(), machine.clock, Given(1)).steps == SHARED_NS // MS
    assert time_host(machine.step, protocol(), machine.clock).steps == 1


def test_turns_are_taken_as_long_as_they_are_given_and_the_first_reason_counts() -> None:
    machine, turns = Machine(CHUNK_NS), Given(6)
    times = time_host(machine.step, protocol(), machine.clock, turns)
    assert turns.said == [None, None, "enough", "enough", "enough", "enough"]
    assert (len(times.cpu), times.stop) == (6, "enough")


def test_the_greatest_number_of_samples_ends_a_turn_early() -> None:
    machine, turns = Machine(SHARED_NS), Given(2)
    times = time_host(machine.step, protocol(max_samples=3), machine.clock, turns)
    assert (len(times.cpu), turns.said[-1]) == (3, "max_samples")


def test_others_that_take_the_processor_do_not_take_samples() -> None:
    quiet, crowded = (
        len(time_host(m.step, protocol(min_time_s=0.2), m.clock, Given(5)).cpu)
        for m in (Machine(5 * MS), Machine(5 * MS, wait=4))
    )
    assert quiet == crowded


def test_a_step_that_sleeps_ends_its_turns_nevertheless() -> None:
    machine, turns = Machine(MS, wait=1000), Given(1)
    assert len(time_host(machine.step, protocol(), machine.clock, turns).cpu) == 1


def test_turns_that_end_before_there_is_enough_are_told() -> None:
    machine = Machine(CHUNK_NS)
    times = time_host(machine.step, protocol(min_samples=5), machine.clock, Given(2))
    assert times.stop == "ended"


def test_alone_it_is_always_ones_turn_until_there_is_enough() -> None:
    turns = Alone()
    turns.ready()
    assert turns.mine()
    turns.end(None)
    assert turns.mine()
    turns.end("enough")
    assert not turns.mine()
    assert isinstance(take(None), Alone)


def test_a_seat_speaks_with_the_referee() -> None:
    referee = Referee(2, timeout_s=30.0)
    words = []

    def sit(number: int, turns: list[str | None]) -> None:
        seated = take(Seat(sitting="x", address=referee.address, number=number, of=2))
        seated.ready()
        while seated.mine():
            seated.end(turns.pop(0))
        words.append((number, turns))

    threads = [
        threading.Thread(target=sit, args=(0, [None, "enough", "enough"])),
        threading.Thread(target=sit, args=(1, [None, None, "max_samples"])),
    ]
    for thread in threads:
        thread.start()
    referee.preside()
    for thread in threads:
        thread.join()
    referee.close()
    assert sorted(words) == [(0, []), (1, [])]


def test_a_seat_without_a_referee_is_an_error(tmp_path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Seated(Seat(sitting="x", address=str(tmp_path / "none"), number=0, of=1))


def test_a_seat_whose_referee_is_gone_has_no_turn(tmp_path) -> None:
    address = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(address)
        door.listen(1)
        seated = Seated(Seat(sitting="x", address=address, number=0, of=2))
        door.accept()[0].close()
        seated.end(None)
        assert not seated.mine()


def test_a_process_moves_to_the_core_of_the_sitting(monkeypatch) -> None:
    moves = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1}, raising=False)
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda _pid, cores: moves.append(cores), raising=False
    )
    assert pin(None) == set()
    assert pin(1) == {0, 1}
    assert moves == [{1}]


def test_a_core_that_is_not_ours_is_left_alone(monkeypatch) -> None:
    def refuse(_pid, cores):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    assert pin(7) == set()
