"""Laws of the two sides: a server for each tree, one more of the base against itself, new luck."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import sides
from harness.schema import Cell, Job, Outcome, Protocol, Result
from harness.sides import Servers, longer
from harness.trees import Trees

TREES = Trees(base=Path("/t/base"), candidate=Path("/t/head"), revision="0" * 40)


class FakeServer:
    """A fork server that remembers; all of them stand in `made`."""

    made: list["FakeServer"]

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ, self.jobs, self.open, self.started = environ, list[Job](), True, False
        FakeServer.made.append(self)

    def devices(self) -> list[str]:
        self.started = True
        return ["cpu"]

    def execute(self, job: Job, _: Callable[[str], None]) -> tuple[Result, None]:
        assert self.started, "a server must be started by the thread that stays"
        self.jobs.append(job)
        return Result(cell=job.cell, outcome=Outcome.OK), None

    def close(self) -> None:
        self.open = False


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[FakeServer]:
    """The servers that were made; sittings go to each party in turn."""

    def sit(parties: Any, *, name: str, core: int | None) -> list[Any]:
        return [party.execute(party.job, lambda _: None) for party in parties]

    FakeServer.made = []
    monkeypatch.setattr(sides, "Local", FakeServer)
    monkeypatch.setattr(sides, "sit", sit)
    return FakeServer.made


@pytest.fixture
def job(make_cell: Callable[..., Cell]) -> Job:
    """A cell to time in turns."""
    protocol = Protocol(launches=5, min_samples=50, min_time_s=0.1, pairing="chunked")
    return Job(cell=make_cell(), metrics=("latency",), protocol=protocol)


def test_each_tree_has_a_server_that_imports_from_it(servers: list[FakeServer], job: Job) -> None:
    with Servers(TREES, {"ONLY": "candidate"}) as both:
        assert len(both.together((1, 0), job, "s")) == 2
        both.alone(0, job)
    candidate, base = servers
    assert [s.environ["PYTHONPATH"] for s in (base, candidate)] == ["/t/base", "/t/head"]
    assert all(s.environ["PYTHONSAFEPATH"] == "1" for s in servers)
    assert ("ONLY" in base.environ, "ONLY" in candidate.environ) == (False, True)
    assert (len(base.jobs), len(candidate.jobs)) == (2, 1)
    assert not any(s.open for s in servers)


@pytest.mark.parametrize("pairing", ["chunked", "apart"])
def test_the_base_against_itself_is_two_servers(
    servers: list[FakeServer], job: Job, pairing: str
) -> None:
    asked = replace(job, protocol=replace(job.protocol, pairing=pairing))
    with Servers(TREES) as both:
        both.together((0, 0), asked, "s")
    assert [len(s.jobs) for s in servers] == [1, 1]
    assert {s.environ["PYTHONPATH"] for s in servers} == {"/t/base"}


def test_renewed_servers_are_others(servers: list[FakeServer], job: Job) -> None:
    with Servers(TREES) as both:
        both.alone(0, job)
        both.renew()
        both.alone(0, job)
    assert len(servers) == 2


def test_more_launches_do_as_much_each(job: Job) -> None:
    more = longer(job, 10).protocol
    assert (more.launches, more.min_samples, more.min_time_s) == (10, 100, 0.2)
    assert more.min_samples / more.launches == job.protocol.min_samples / job.protocol.launches
