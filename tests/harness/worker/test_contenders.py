"""Laws over the real shelves: a new variant is tested on arrival."""

import sys
from dataclasses import replace

import pytest
import torch

from harness.schema import MODELS, Cell, Job, Protocol
from harness.worker import workload
from harness.worker.metric import Bench
from harness.worker.metrics import flops, peak_memory
from models.variant import VARIANTS, Unsupported

CELL = Cell(
    contender="x",
    model="transformer",
    attention="auto",
    impl="auto",
    phase="train_step",
    seq_len=256,
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
BOTH_WAYS = [  # what an encoder and a decoder can be made of
    name
    for name in VARIANTS.names()
    if VARIANTS.load(name).causal and VARIANTS.load(name).bidirectional
]
CONTENDERS = [
    (model, name)
    for model in MODELS
    for name in (BOTH_WAYS if model == "seq2seq" else VARIANTS.names())
]


def can_run(attention: str) -> bool:
    """Whether the package of a peer is here."""
    try:
        workload.build(job(attention=attention, seq_len=64, **forms(attention)))
    except Unsupported:
        return False
    return True


def forms(name: str) -> dict[str, bool]:
    """The direction in which a variant is tried."""
    return {"causal": VARIANTS.load(name).causal}


def job(**changes) -> Job:
    return Job(cell=replace(CELL, **changes), metrics=(), protocol=Protocol())


@pytest.mark.parametrize(("model", "attention"), CONTENDERS)
def test_every_contender_is_checked_built_stepped_and_weighed(model: str, attention: str) -> None:
    if not can_run(attention):
        pytest.skip(f"{attention} needs a package that is not here")
    of = job(model=model, attention=attention, **forms(attention))
    assert workload.check(of) is None
    findings = peak_memory.collect(Bench(job=of))
    assert findings.measurements[0].samples[0] > 0
    assert findings.facts["memory_warmup_len"] == 128


@pytest.mark.parametrize("model", MODELS)
def test_contenders_share_their_weights_and_text_wherever_shapes_agree(model: str) -> None:
    names = [name for of, name in CONTENDERS if of == model and can_run(name)]
    works = [workload.build(job(model=model, attention=name, **forms(name))) for name in names]
    base = works[0]
    weights = base.model.state_dict()
    for work in works[1:]:
        assert torch.equal(work.tokens, base.tokens)
        other = work.model.state_dict()
        same = [n for n in weights.keys() & other.keys() if weights[n].shape == other[n].shape]
        assert len(same) > 5
        for name in same:
            assert torch.equal(weights[name], other[name]), name


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_exact_attention_is_the_same_problem_for_every_impl(phase: str) -> None:
    totals = set()
    for impl in VARIANTS.load("full").impls:
        try:
            found = flops.collect(Bench(job=job(attention="full", impl=impl, phase=phase)))
        except Unsupported:
            continue
        totals.add(found.measurements[0].samples)
        assert all(measurement.samples[0] > 0 for measurement in found.measurements)
    assert len(totals) == 1


def test_a_fork_server_can_import_every_model_and_variant_beforehand(monkeypatch) -> None:
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(torch, "set_num_threads", fail)
    monkeypatch.setattr(torch.cuda, "is_available", fail)
    workload.preload()
    for name in MODELS:
        assert f"models.{name}" in sys.modules
