"""Prefill and decode: the same numbers as the whole, caches of the size that is told."""

from dataclasses import replace

import pytest
import torch

from harness.schema import Cell, Job, Protocol
from harness.worker import workload
from harness.worker.decoding import STRETCH
from harness.worker.metric import Bench
from harness.worker.metrics import flops
from models.variant import Unsupported

CELL = Cell(
    contender="x",
    model="transformer",
    attention="full",
    impl="eager",
    phase="decode",
    seq_len=72,
    batch=2,
    d_model=16,
    heads=2,
    d_ff=32,
    layers=2,
    vocab=256,
    causal=True,
    dtype="float64",
    device="cpu",
    threads=1,
    data="stdlib",
    seed=1,
)


def job(**changes) -> Job:
    return Job(cell=replace(CELL, **changes), metrics=(), protocol=Protocol())


@pytest.mark.parametrize("attention", ["full", "local", "linear", "gated_linear", "grouped_query"])
def test_steps_give_the_rows_of_the_whole_and_begin_again_at_the_prompt(attention: str) -> None:
    work = workload.build(job(attention=attention, impl="auto"))
    with torch.no_grad():
        rows = work.model.eval()(work.tokens)
    for at in [*range(72 - STRETCH, 72), 72 - STRETCH, 72 - STRETCH + 1]:
        torch.testing.assert_close(work.step(), rows[:, at], rtol=1e-9, atol=1e-9)


def test_a_prefill_gives_the_last_row() -> None:
    work = workload.build(job(phase="prefill"))
    with torch.no_grad():
        torch.testing.assert_close(work.step(), work.model(work.tokens)[:, -1])


def test_state_bytes_are_those_that_attention_keeps() -> None:
    found = {}
    for attention in ("full", "grouped_query", "linear"):
        for seq_len in (72, 136):
            work = workload.build(job(attention=attention, impl="auto", seq_len=seq_len))
            assert work.state_bytes is not None
            found[attention, seq_len] = work.state_bytes()
    assert found["full", 72] == 2 * 2 * 2 * (72 - STRETCH) * 16 * 8  # layers, k and v, batch
    assert found["grouped_query", 72] == found["full", 72] / 2
    assert found["full", 136] > found["full", 72]
    assert found["linear", 136] == found["linear", 72] == 2 * 2 * 2 * 8 * 9 * 8


def test_flops_are_those_of_one_token_and_of_a_prompt_without_its_logits() -> None:
    by_phase = {}
    for phase in ("forward", "prefill", "decode"):
        measured = flops.collect(Bench(job=job(phase=phase))).measurements
        by_phase[phase] = {one.metric: one.samples[0] for one in measured}
    weights = 2 * (4 * 16 * 16 + 2 * 16 * 32)
    assert by_phase["decode"]["flops_model"] == 2 * 2 * (weights + 16 * 256) + 2 * 4 * 16 * 72 * 2
    spared = 2 * 2 * 71 * 16 * 256
    assert by_phase["forward"]["flops_model"] - by_phase["prefill"]["flops_model"] == spared
    assert by_phase["forward"]["flops_executed"] - by_phase["prefill"]["flops_executed"] == spared
    assert "state_bytes" not in by_phase["forward"]


def test_what_does_not_decode_says_so() -> None:
    with pytest.raises(Unsupported, match="bidirectional"):
        workload.build(job(causal=False))
    with pytest.raises(Unsupported, match="of ours"):
        workload.build(job(model="huggingface_longformer", attention="own", causal=False))
