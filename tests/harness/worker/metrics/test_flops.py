import pytest

from harness.worker.metric import Bench
from harness.worker.metrics.flops import METRIC, collect


@pytest.mark.parametrize(("phase", "factor"), [("forward", 1), ("train_step", 3)])
def test_totals_are_those_of_the_phase(job, phase: str, factor: int) -> None:
    findings = collect(Bench(job=job(phase=phase)))
    flops = 2 * 64 * 32 * 32
    found = {m.metric: m.samples for m in findings.measurements}
    assert found == {"flops_model": (factor * flops,), "flops_executed": (2 * factor * flops,)}
    assert METRIC.headline in found


def test_every_impl_of_a_problem_has_the_same_model_flops(job) -> None:
    totals = {
        collect(Bench(job=job(impl=impl))).measurements[0].samples
        for impl in ("reference", "eager")
    }
    assert len(totals) == 1


def test_parameters_and_state_are_facts(job) -> None:
    facts = collect(Bench(job=job())).facts
    assert facts == {"parameters": 256 * 32 + 32 * 33 + 33 * 256, "state_bytes": 4 * 32}
