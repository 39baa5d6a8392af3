"""The passes over a cell: what a first launch does, what a later one leaves out."""

import threading
from contextlib import closing
from dataclasses import replace

import pytest

from harness.referee import Referee
from harness.schema import Outcome, Seat
from harness.worker import apart
from harness.worker.measure import measure


def told(job) -> tuple[list[str], dict, dict]:
    """Return stages, facts and the last event."""
    events: list[dict] = []
    measure(job, events.append)
    facts: dict = {}
    for event in events:
        facts |= event.get("facts", {})
    return [e["stage"] for e in events if "stage" in e], facts, events[-1]


def test_the_first_launch_takes_every_pass_between_two_proofs(job) -> None:
    stages, facts, end = told(job(metrics=("latency", "peak_memory", "flops")))
    assert end["outcome"] is Outcome.OK, end
    assert stages == ["build", "peak_memory", "proof", "latency", "flops", "proof_after"]
    assert facts["launches"] == 1
    assert facts["source"]


def test_a_later_launch_only_times_and_proves_after_it_with_a_seed_of_its_own(job) -> None:
    later = [job(metrics=("latency", "peak_memory", "flops"), launch=n) for n in (1, 2)]
    for each in later:
        stages, facts, end = told(each)
        assert end["outcome"] is Outcome.OK, end
        assert stages == ["build", "latency", "proof_after"]
        assert facts["launches"] == 1
        assert isinstance(facts["wall_over_cpu"], list)


@pytest.mark.parametrize(
    ("launch", "metrics", "expected"),
    [(0, ("latency",), "first_call"), (1, ("latency",), "build"), (0, ("flops",), "build")],
)
def test_on_cuda_the_first_call_comes_before_whatever_compiles(
    job, monkeypatch, launch: int, metrics: tuple, expected: str
) -> None:
    """Here, without a device, it is also the pass that finds this out, in its own process."""
    forked = []

    def apart_run(ends_well) -> None:
        forked.append(True)
        if not ends_well():
            raise apart.ToldError

    monkeypatch.setattr(apart, "run", apart_run)
    monkeypatch.setattr("harness.worker.device.devices", lambda: ["cpu"])
    events: list[dict] = []
    measure(job(metrics=metrics, launch=launch, device="cuda"), events.append)
    assert [e["stage"] for e in events if "stage" in e] == [expected]
    assert [e["outcome"] for e in events if "outcome" in e] == [Outcome.UNSUPPORTED]
    assert len(forked) == (expected == "first_call")


def test_a_cell_that_is_not_timed_counts_no_launches(job) -> None:
    assert "launches" not in told(job(metrics=("flops",)))[1]


def test_a_launch_takes_its_share_of_the_samples(job) -> None:
    protocol = replace(job().protocol, launches=3, min_samples=9, max_samples=30)
    events: list[dict] = []
    measure(job(metrics=("latency",), protocol=protocol, launch=1), events.append)
    (latency,) = [
        e["measurement"]
        for e in events
        if "measurement" in e and e["measurement"]["metric"] == "latency"
    ]
    assert len(latency["samples"]) == 3


def test_where_contenders_take_turns_the_first_launch_does_not_time(job) -> None:
    turns = replace(job().protocol, pairing="chunked", launches=2)
    metrics = ("latency", "peak_memory", "flops")
    stages, facts, end = told(job(metrics=metrics, protocol=turns))
    assert end["outcome"] is Outcome.OK, end
    assert stages == ["build", "peak_memory", "proof", "flops", "proof_after"]
    assert facts["launches"] == 0
    stages, facts, _ = told(job(metrics=metrics, protocol=turns, launch=1))
    assert (stages, facts["launches"]) == (["build", "latency", "proof_after"], 1)
    assert facts["resident_bytes"] > 1 << 20


def test_at_a_sitting_times_carry_its_name_and_the_referee_watches_the_clock(job) -> None:
    with closing(Referee(1, timeout_s=60.0)) as referee:
        thread = threading.Thread(target=referee.preside)
        thread.start()
        seat = Seat(sitting="x", address=referee.address, number=0, of=1)
        events: list[dict] = []
        measure(job(metrics=("latency",), launch=1, seat=seat), events.append)
        thread.join()
    assert events[-1]["outcome"] is Outcome.OK
    found = [e["measurement"] for e in events if "measurement" in e]
    assert [m["sittings"] for m in found] == [["x"]] * 2
    assert all(m["launches"] == [len(m["samples"])] for m in found)
    assert [e["patience_s"] for e in events if "patience_s" in e] == [1e9, 300.0]


@pytest.mark.parametrize("launch", [0, 1])
def test_an_audit_is_taken_once_and_on_request(job, launch: int) -> None:
    stages, facts, _ = told(job(metrics=("latency",), audit=True, launch=launch))
    assert ("audit" in stages) == (launch == 0)
    if launch == 0:
        assert facts["audit"]["returns_early"] is False
    assert "audit" not in told(job(metrics=("latency",)))[0]
