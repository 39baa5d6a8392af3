"""Laws of the error of approximate mechanisms."""

from dataclasses import replace

import pytest
import torch

from harness.schema import Cell, Job, Protocol
from harness.worker import workload
from harness.worker.listening import counterpart, listen, recall, spread_rows, weights
from harness.worker.metric import Bench
from harness.worker.metrics.error import METRIC, collect
from models.variant import VARIANTS

CELL = Cell(
    contender="c", model="transformer", attention="full", impl="eager", phase="forward",
    seq_len=128, batch=1, d_model=32, heads=2, d_ff=32, layers=2, vocab=256, causal=True,
    dtype="float32", device="cpu", threads=1, data="stdlib", seed=1,
)  # fmt: skip


def found(**changes) -> dict:
    job = Job(cell=replace(CELL, **changes), metrics=("error",), protocol=Protocol())
    findings = collect(Bench(job=job))
    return {m.metric: m.samples for m in findings.measurements} | dict(findings.facts)


def lsh(**options) -> dict:
    return found(model="reformer", attention="lsh", impl="chunked", options=options)


@pytest.mark.parametrize("impl", ["eager", "sdpa"])
def test_exact_attention_has_the_error_of_its_dtype_and_visits_every_key(impl: str) -> None:
    figures = found(impl=impl)
    assert len(figures["error"]) == CELL.layers  # one sample a layer
    assert max(figures["error"]) < 1e-6
    assert min(figures["attention_recall"]) == pytest.approx(1)
    assert figures["error_over_eager"] < 10


def test_an_error_of_the_dtype_is_not_blamed_on_the_mechanism() -> None:
    figures = found(dtype="bfloat16")
    assert min(figures["error"]) > 1e-3
    assert figures["error_over_eager"] < 3


def test_more_hash_rounds_and_longer_chunks_come_closer() -> None:
    by_hashes = [lsh(hashes=n, chunk=16) for n in (1, 4, 16)]
    by_chunk = [lsh(hashes=2, chunk=n) for n in (8, 16, 64)]
    for series in (by_hashes, by_chunk):
        recalls = [sum(figures["attention_recall"]) for figures in series]
        errors = [sum(figures["error"]) for figures in series]
        assert recalls == sorted(recalls)
        assert errors[0] > errors[-1]
        assert min(errors) > 100 * max(figures["error_eager"][0] for figures in series)


def test_hashing_into_a_single_chunk_is_exact() -> None:
    figures = lsh(hashes=1, chunk=128)
    assert max(figures["error"]) < 1e-6
    assert min(figures["attention_recall"]) == pytest.approx(1)


def test_a_window_recalls_the_mass_of_the_keys_that_it_sees() -> None:
    narrow = found(attention="local", impl="chunked", options={"chunk": 16})
    wide = found(attention="local", impl="chunked", options={"chunk": 32})
    assert sum(narrow["attention_recall"]) < sum(wide["attention_recall"]) < CELL.layers
    assert sum(narrow["error"]) > sum(wide["error"]) > 0


def test_probes_tell_the_weights_of_softmax_attention() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 2, 40, 16).double()
    exact = counterpart(
        VARIANTS.load("full").module(
            VARIANTS.load("full").options(), causal=True, impl="eager", head_dim=16
        ),
        40,
        16,
    )(torch.float64)
    rows = torch.tensor([0, 7, 39])
    seen = weights(exact, q, k, rows)
    scores = (q @ k.mT / 4).masked_fill(torch.ones(40, 40).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(seen, scores.softmax(-1)[:, :, rows])


def test_recall_is_the_exact_mass_on_visited_keys() -> None:
    exact = torch.tensor([[0.5, 0.3, 0.2]])
    assert recall(torch.tensor([[0.9, 0.0, 0.1]]), exact) == pytest.approx(0.7)
    assert recall(torch.tensor([[-1.0, 2.0, 3.0]]), exact) == pytest.approx(1)
    assert recall(torch.zeros(1, 3), exact) == 0


@pytest.mark.parametrize("seq_len", [1, 5, 64, 100, 128, 1000, 8192])
def test_rows_come_from_all_over_the_sequence(seq_len: int) -> None:
    rows = spread_rows(seq_len, seed=0)
    assert len(set(rows.tolist())) == len(rows) == min(seq_len, len(rows)) <= 64
    assert rows[-1] == seq_len - 1
    assert rows.double().mean() == pytest.approx((seq_len - 1) / 2, abs=0.2 * seq_len)


def test_listening_leaves_no_hook_behind() -> None:
    job = Job(cell=CELL, metrics=(), protocol=Protocol())
    work = workload.build(job)
    with torch.no_grad():
        heard = listen(work.model, lambda: work.model(work.tokens))
        again = listen(work.model, lambda: None)
    assert len(heard) == CELL.layers
    assert again == []
    assert METRIC.headline == "error"
