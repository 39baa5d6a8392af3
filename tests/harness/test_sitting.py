"""Laws of sittings: one party at a time, everybody in every round, no party harms another.

Parties are threads of this process that speak the worker's side of the wire; nothing is timed.
"""

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.referee import Referee
from harness.schema import Job, Outcome, Protocol, Result
from harness.sitting import Party, core_of, sit
from harness.worker.turns import Seated

QUICK_S = 30.0
PATIENCE_S = 3.0  # with one who hangs; the others must answer sooner on the busiest machine


class Table:
    """What the parties did, in order; it notices if two are at it at once."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.busy = threading.Lock()

    def act(self, name: str) -> None:
        assert self.busy.acquire(blocking=False), f"{name} and another at once"
        self.log.append(name)
        self.busy.release()

    def party(self, make_cell: Callable, name: str, turns: int) -> Party:
        """A party that needs so many turns."""

        def execute(job: Job, on_stage: Callable):
            assert job.seat is not None
            seated = Seated(job.seat)
            seated.ready()
            done = 0
            while seated.mine():
                self.act(name)
                done += 1
                seated.end("enough" if done >= turns else None)
            return Result(cell=job.cell, outcome=Outcome.OK), None

        return Party(execute=execute, job=job_of(make_cell, name))


def job_of(make_cell: Callable, name: str = "a", timeout_s: float = QUICK_S) -> Job:
    protocol = Protocol(timeout_s=timeout_s)
    return Job(cell=make_cell(name), metrics=("latency",), protocol=protocol, launch=1)


def outcomes(answers: list) -> list[Outcome]:
    return [result.outcome for result, _ in answers]


def test_everybody_has_a_turn_in_every_round_until_nobody_needs_more(make_cell) -> None:
    table = Table()
    parties = [table.party(make_cell, name, n) for name, n in (("a", 2), ("b", 5), ("c", 3))]
    assert outcomes(sit(parties, name="x")) == [Outcome.OK] * 3
    rounds = [table.log[i : i + 3] for i in range(0, len(table.log), 3)]
    assert [sorted(each) for each in rounds] == [["a", "b", "c"]] * 5


def test_the_order_of_turns_changes_from_round_to_round_and_repeats_with_the_name(
    make_cell,
) -> None:
    logs = []
    for name in ("x", "x", "y"):
        table = Table()
        sit([table.party(make_cell, each, 8) for each in "abc"], name=name)
        logs.append(table.log)
    assert logs[0] == logs[1] != logs[2]
    assert len({tuple(logs[0][i : i + 3]) for i in range(0, 24, 3)}) > 1


def test_answers_come_in_the_order_of_the_parties_and_stages_from_the_first(make_cell) -> None:
    heard: list[str] = []

    def execute(job: Job, on_stage: Callable):
        on_stage(f"stage of {job.cell.contender}")
        return Result(cell=job.cell, outcome=Outcome.OK), None

    parties = [Party(execute=execute, job=job_of(make_cell, name)) for name in "ab"]
    answers = sit(parties, name="x", on_stage=heard.append)
    assert [result.cell.contender for result, _ in answers] == ["a", "b"]
    assert heard == ["stage of a"]


@pytest.mark.parametrize("stage", ["never came", "before it was ready", "in its turn"])
def test_a_party_that_dies_costs_nobody_else_a_turn(make_cell, stage: str) -> None:
    table = Table()

    def dies(job: Job, on_stage: Callable):
        if stage != "never came":
            assert job.seat is not None
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.connect(job.seat.address)
                line.sendall(b"1 123\n")
                if stage == "in its turn":
                    line.sendall(b"r")
                    assert line.recv(1) == b"t"
        return Result(cell=job.cell, outcome=Outcome.CRASHED, reason="died"), None

    parties = [
        table.party(make_cell, "a", 3),
        Party(execute=dies, job=job_of(make_cell, "dies")),
        table.party(make_cell, "b", 2),
    ]
    answers = sit(parties, name="x")
    assert outcomes(answers) == [Outcome.OK, Outcome.CRASHED, Outcome.OK]
    assert sorted(table.log) == ["a"] * 3 + ["b"] * 3


def test_who_does_not_end_a_turn_is_killed_and_timed_out(make_cell, monkeypatch) -> None:
    table, killed = Table(), threading.Event()
    monkeypatch.setattr(os, "kill", lambda pid, _signal: killed.set() if pid == 4711 else None)

    def hangs(job: Job, on_stage: Callable):
        assert job.seat is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(job.seat.address)
            line.sendall(b"1 4711\nr")
            line.recv(1)
            assert killed.wait(QUICK_S)
        return Result(cell=job.cell, outcome=Outcome.CRASHED, reason="SIGKILL", stage="s"), None

    parties = [
        replace(party, job=replace(party.job, protocol=Protocol(timeout_s=PATIENCE_S)))
        for party in (
            table.party(make_cell, "a", 2),
            Party(execute=hangs, job=job_of(make_cell, "hangs")),
        )
    ]
    (good, _), (bad, _) = sit(parties, name="x")
    assert (good.outcome, bad.outcome) == (Outcome.OK, Outcome.TIMEOUT)
    assert bad.reason == "killed after 3 s without an answer, in s"
    assert table.log == ["a", "a"]


def test_an_error_of_an_executor_is_raised_when_the_others_have_ended(make_cell) -> None:
    table = Table()

    def breaks(job: Job, on_stage: Callable):
        raise RuntimeError("the hatch is stuck")

    with pytest.raises(RuntimeError, match="stuck"):
        sit(
            [
                table.party(make_cell, "a", 2),
                Party(execute=breaks, job=job_of(make_cell, "b")),
            ],
            name="x",
        )
    assert table.log == ["a", "a"]


def test_nothing_is_left_behind(make_cell) -> None:
    referee = Referee(1, timeout_s=QUICK_S)
    place = Path(referee.address)
    assert place.exists()
    referee.gone(0)
    referee.preside()
    referee.close()
    assert not place.parent.exists()


def test_sittings_move_from_core_to_core_where_one_thread_is_asked_for(
    make_cell, monkeypatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 1}, raising=False)
    job = job_of(make_cell)
    assert [core_of([job], i) for i in range(3)] == [1, 3, 1]
    two = replace(job, cell=replace(job.cell, threads=2))
    assert core_of([job, two], 0) is None
