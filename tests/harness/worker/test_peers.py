"""Networks of other packages at our sizes: built, stepped, and their FLOPs as counted."""

from dataclasses import replace

import pytest
import torch

from harness.schema import PEERS, Cell, Job, Protocol
from harness.worker import flop_counting, workload
from models.variant import Unsupported

CELL = Cell(
    contender="x",
    model="transformer",
    attention="own",
    impl="own",
    phase="forward",
    seq_len=512,
    batch=1,
    d_model=32,
    heads=2,
    d_ff=64,
    layers=2,
    vocab=256,
    causal=True,
    dtype="float32",
    device="cpu",
    threads=1,
    data="stdlib",
    seed=1,
)


def job(name: str, **changes) -> Job:
    causal = "reformer" in name
    cell = replace(CELL, model=name, **{"causal": causal, **changes})
    return Job(cell=cell, metrics=(), protocol=Protocol())


def built(of: Job) -> workload.Workload:
    try:
        return workload.build(of)
    except Unsupported as reason:
        pytest.skip(f"needs the extra peers: {reason}")


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_checked_built_and_counted_as_its_cost_says(name: str) -> None:
    of = job(name)
    assert workload.check(of) is None
    work = built(of)
    assert flop_counting.count(work.step).flops == work.cost.executed_flops
    assert work.step().shape == (1, 512, 256)
    assert work.parameters > 10_000


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_learns(name: str) -> None:
    work = built(job(name, phase="train_step"))
    losses = [work.step().item() for _ in range(8)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["huggingface_longformer", "huggingface_bigbird"])
def test_an_encoder_has_no_causal_form(name: str) -> None:
    with pytest.raises(Unsupported, match="causal form"):
        workload.build(job(name, causal=True))


def test_a_silent_way_out_to_full_attention_is_refused() -> None:
    with pytest.raises(Unsupported, match="takes full attention up to 448 tokens"):
        workload.build(job("huggingface_bigbird", seq_len=448))


def test_the_causal_form_of_a_peer_takes_nothing_from_later_tokens() -> None:
    """With one chunk there is no bucket that later tokens could move."""
    work = built(job("huggingface_reformer", seq_len=64))
    model, tokens = work.model.eval(), work.tokens
    other = tokens.clone()
    other[:, 40:] = 7
    with torch.no_grad():
        before, after = model(tokens), model(other)
    torch.testing.assert_close(after[:, :40], before[:, :40], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(after[:, 40:], before[:, 40:], rtol=1e-2, atol=1e-2)
