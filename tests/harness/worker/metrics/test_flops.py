from dataclasses import replace

import pytest
from torch import nn

from harness.schema import Job
from harness.worker import peaks, workload
from harness.worker.metric import Bench
from harness.worker.metrics.flops import METRIC, collect, compulsory_bytes
from models.variant import VARIANTS, Attention
from tests.harness.worker.conftest import CELL, FAST

PEAKS = {"flops_per_s": 1e9, "bytes_per_s": 1e9, "method": "known", "unknown": None}
EXACT = [  # and projected as full attention is
    name
    for name in VARIANTS.names()
    if VARIANTS.load(name).exact and not hasattr(VARIANTS.load(name).options(), "kv_heads")
]


@pytest.fixture(autouse=True)
def known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_known", {peaks.key(CELL): PEAKS})


def totals(job: Job) -> dict[str, float]:
    return {m.metric: m.samples[0] for m in collect(Bench(job=job)).measurements}


def real(**changes) -> Job:
    """A job of a real model."""
    return Job(cell=replace(CELL, **changes), metrics=(), protocol=FAST)


@pytest.mark.parametrize(("phase", "factor"), [("forward", 1), ("train_step", 3)])
def test_totals_are_those_of_the_phase(job, phase: str, factor: int) -> None:
    flops = 2 * 64 * 32 * 32
    found = totals(job(phase=phase))
    assert found["flops_model"] == factor * flops
    assert found["flops_executed"] == 2 * factor * flops
    assert METRIC.headline in found


def test_every_exact_variant_and_impl_has_the_same_model_flops() -> None:
    found = {
        name: totals(real(attention=name, impl=impl))["flops_model"]
        for name in EXACT
        for impl in VARIANTS.load(name).impls
        if impl in {"reference", "eager", "sdpa", "chunked"}
    }
    approximate = totals(real(attention="local"))["flops_model"]
    assert len({*found.values(), approximate}) == 1


def test_causal_pairs_are_counted_exactly() -> None:
    n, causal, both = (
        64,
        totals(real(attention="full")),
        totals(real(attention="full", causal=False)),
    )
    per_pair = 4 * CELL.d_model * CELL.batch * CELL.layers
    assert both["flops_model"] - causal["flops_model"] == per_pair * (n * n - n * (n + 1) // 2)


def test_a_count_stands_beside_the_paper_or_says_what_it_misses() -> None:
    eager = collect(Bench(job=real(attention="full", impl="eager")))
    values = {m.metric: m.samples for m in eager.measurements}
    assert values["flops_counted"] == values["flops_executed"]
    assert "flops_counted" not in eager.facts

    fused = collect(Bench(job=real(attention="full", impl="sdpa")))
    assert "flops_counted" not in {m.metric for m in fused.measurements}
    assert "uncounted op" in fused.facts["flops_counted"]


def test_parameters_state_and_peaks_are_facts(job) -> None:
    facts = collect(Bench(job=job())).facts
    assert facts["parameters"] == 256 * 32 + 32 * 33 + 33 * 256
    assert facts["state_bytes"] == 4 * 32
    assert facts["peaks"] == PEAKS


def test_every_total_names_its_rule(job) -> None:
    methods = {m.metric: m.method for m in collect(Bench(job=job())).measurements}
    assert "2 x matrix weights x tokens" in methods["flops_model"]
    assert "N (N + 1) / 2 if causal" in methods["flops_model"]
    assert all(methods.values())


@pytest.mark.parametrize("model", ["transformer", "reformer"])
@pytest.mark.parametrize("attention", ["full", "lsh"])
def test_compulsory_bytes_are_what_the_products_of_a_real_network_move(
    model: str, attention: str
) -> None:
    options = {"ff_section": None}
    work = workload.build(real(model=model, attention=attention, seq_len=128, options=options))
    moved, read = 0, set()

    def see(module: nn.Module, inputs: tuple, output) -> None:
        nonlocal moved
        if isinstance(module, nn.Linear):
            (x,) = inputs
            # Products of one input read it once; it stays alive, so that its id is its own.
            moved += output.nbytes + (0 if id(x) in read else x.nbytes)
            read.add(id(x))
            kept.append(x)
        elif isinstance(module, nn.Embedding):
            moved += output.nbytes
        elif isinstance(module, Attention):
            shared = 1 if module.shared_qk else 2
            moved += output.nbytes + inputs[2].nbytes + shared * inputs[0].nbytes

    kept: list = []
    for module in work.model.modules():
        module.register_forward_hook(see)
    work.step()
    assert compulsory_bytes(work) == moved + 4 * work.parameters


def test_a_training_step_moves_three_times_the_activations_and_ten_times_the_parameters() -> None:
    forward, training = (
        compulsory_bytes(workload.build(real(attention="full", phase=phase)))
        for phase in ("forward", "train_step")
    )
    weights = 4 * workload.build(real(attention="full")).parameters
    assert training - 10 * weights == 3 * (forward - weights)
