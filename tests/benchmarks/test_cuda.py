"""The benchmark of the kernels on CUDA with a pretended timer: no run on a device may fail late."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import store
from harness.schema import Outcome
from models.unsupported import Unsupported
from tests.benchmarks.cuda import bars, run
from tests.benchmarks.cuda import contenders as c
from tests.benchmarks.cuda.bars import Figure, K
from tests.benchmarks.cuda.contenders import BOTH, FORWARD, Contender, Shape
from tests.benchmarks.cuda.groups import GROUPS, PLAN, STEP, Group, header
from tests.benchmarks.cuda.timing import interleave

MS = 1_000_000
SMALL = Shape(seq_len=96, heads=1, dim=32, dtype="float32", device="cpu")


class Pretended:
    """A timer that says what each step is said to take, and runs it."""

    def __init__(self) -> None:
        self.order: list[Any] = []

    def sample(self, step: Any, hidden_ns: float) -> float:
        assert hidden_ns == 2000.0
        self.order.append(step)
        return 5.0 * MS

    def host(self, step: Any) -> float:
        return 1000.0

    def peak(self, step: Any) -> int | None:
        step()
        return 1 << 20


def lacking(_shape: Shape) -> Any:
    raise Unsupported("needs what is not here")


def breaking(_shape: Shape) -> Any:
    raise RuntimeError("a compiler's bug")


def exhausting(_shape: Shape) -> Any:
    raise torch.OutOfMemoryError("too large")


def failing(name: str, build: Any) -> Contender:
    return Contender(id=name, attention="lsh", impl="triton", build=build)


NO_MODEL = replace(STEP, device="cpu", model="none")
GROUP = Group(
    shape=SMALL,
    phases=(FORWARD, BOTH),
    contenders=(
        c.SDPA_ANY,
        PLAN,
        c.CHUNKED,
        failing("lacking", lacking),
        failing("breaking", breaking),
        failing("exhausting", exhausting),
    ),
    rounds=2,
)


def execute(folder: Path, left_s: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(c, "planning", lambda shape: lambda: None)
    written = header("run", [GROUP], NO_MODEL, ["--rehearse"])
    with store.Writer.create(folder, written) as writer:
        bench = run.Benchmark(writer, Pretended(), left_s)
        for phase in GROUP.phases:
            bench.run(GROUP, phase)
        bench.train(NO_MODEL)
        writer.finish("finished")
    return bench, store.open("run", folder)


def test_every_cell_gets_an_outcome_and_a_failure_costs_nobody_else(tmp_path, monkeypatch) -> None:
    bench, found = execute(tmp_path, lambda: 100.0, monkeypatch)
    outcomes = {(r.cell.contender, r.cell.phase): r.outcome for r in found.results}
    for phase in GROUP.phases:
        assert outcomes["sdpa-any", phase] is Outcome.OK
        assert outcomes["lsh-chunked", phase] is Outcome.OK
        assert outcomes["lacking", phase] is Outcome.UNSUPPORTED
        assert outcomes["breaking", phase] is Outcome.ERROR
        assert outcomes["exhausting", phase] is Outcome.OUT_OF_MEMORY
    assert outcomes["plan", FORWARD] is Outcome.OK
    assert outcomes[STEP.contender, "train_step"] is Outcome.ERROR
    assert len(found.results) == len(found.header.cells)
    good = next(r for r in found.results if r.outcome is Outcome.OK)
    assert [m.samples for m in good.measurements] == [(5 * MS, 5 * MS), (1 << 20,)]
    assert {f.contender for f in bench.figures if f.samples_ns} == {
        "sdpa-any",
        "plan",
        "lsh-chunked",
    }


def test_without_time_cells_are_skipped_with_the_reason(tmp_path, monkeypatch) -> None:
    _, found = execute(tmp_path, lambda: 0.0, monkeypatch)
    assert {r.outcome for r in found.results} == {Outcome.SKIPPED}
    assert {r.reason for r in found.results} == {"no time was left"}


def test_contenders_take_turns_and_late_rounds_fall_to_the_clock() -> None:
    timer, left = Pretended(), iter([1.0, 0.0])
    first, second = (lambda: 1), (lambda: 2)
    samples = interleave({"a": first, "b": second}, timer, rounds=9, left_s=lambda: next(left))
    assert timer.order == [first, second] * 4
    assert samples == {"a": [5.0 * MS] * 4, "b": [5.0 * MS] * 4}


def figure(contender: str, phase: str, n: int, ms: float, batch: int = 1, peak: int = 1) -> Figure:
    return Figure(
        contender=contender,
        phase=phase,
        seq_len=n,
        batch=batch,
        samples_ns=(ms * MS,),
        peak_bytes=peak,
    )


def test_bars_compare_with_the_best_backend_and_say_what_was_not_measured() -> None:
    figures = [
        figure("lsh-triton", BOTH, 64 * K, 2.0, peak=10),
        figure("sdpa-flash", BOTH, 64 * K, 50.0),
        figure("sdpa-cudnn", BOTH, 64 * K, 29.0),
        figure("huggingface", BOTH, 64 * K, 20.0, peak=90),
        figure("lsh-triton", FORWARD, 64 * K, 0.5),
        figure("plan", FORWARD, 64 * K, 0.1),
        Figure(contender="lsh-flex", phase=BOTH, seq_len=64 * K, batch=1, reason="bug"),
    ]
    rows = {row.name: row for row in bars.rows(figures, {"step_s": 1.4, "step_bytes": 61e9})}
    assert rows["lsh-triton forward 64k, ms"].holds is True
    assert rows["lsh-triton forward_backward 64k, ms"].holds is False
    exact = rows["time of sdpa / ours, forward_backward 64k"]
    assert (exact.reached, exact.holds, exact.note) == (14.5, False, "(sdpa-cudnn)")
    assert rows["time of huggingface / ours, forward_backward 64k"].holds is True
    assert rows["memory of huggingface / ours, forward_backward 64k"].reached == 9
    share = rows["hash, sort and inverse, % of the forward, 64k"]
    assert (share.reached, share.holds) == (20, False)
    assert rows["time of lsh-flex / ours, forward_backward 64k"].holds is None
    assert rows["training step, 12 layers, d_model 512, 1M tokens, s"].holds is True
    assert rows["the same, peak memory, GB"].holds is False
    assert "MISSED" in str(exact)


def test_every_bar_has_its_cells_in_the_plan() -> None:
    planned = [
        figure(one.id, phase, group.shape.seq_len, 1.0, group.shape.batch)
        for group in GROUPS
        for phase in group.phases
        for one in group.contenders
    ]
    rows = bars.rows(planned, {"step_s": 1.0, "step_bytes": 1.0})
    assert all(row.holds is not None for row in rows), [str(r) for r in rows if r.holds is None]


@pytest.mark.parametrize("one", [c.SDPA_ANY, c.CHUNKED, c.HUGGINGFACE, c.LUCID], ids=lambda x: x.id)
def test_contenders_compute_attention_and_its_gradients(one: Contender) -> None:
    if one is c.HUGGINGFACE:
        pytest.importorskip("transformers", reason="of the extra dev")
    if one is c.LUCID:
        pytest.importorskip("reformer_pytorch", reason="of the extra peers")
    out = one.step(SMALL, FORWARD)()
    assert out.shape == (1, 1, 96, 32)
    assert out.isfinite().all()
    dq, _ = one.step(SMALL, BOTH)()
    assert dq.isfinite().all()
    assert dq.abs().sum() > 0
