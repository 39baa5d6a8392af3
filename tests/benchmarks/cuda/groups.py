"""What is measured, in which order, and under which cells it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from harness.schema import Cell, Protocol, RunHeader
from harness.schema import Contender as Entry
from tests.benchmarks.cuda import contenders as c
from tests.benchmarks.cuda.bars import K
from tests.benchmarks.cuda.contenders import BOTH, FORWARD, Contender, Shape
from tests.benchmarks.cuda.timing import ROUNDS, WARMUPS

SUITE = "kernels_cuda"
QUESTION = "How fast is our LSH attention on this device, against its peers and exact attention?"
METHOD = "CUDA events, launch hidden, L2 flushed, contenders in turn"
PLAN = Contender(
    id="plan", attention="lsh", impl="triton", options=c.OURS, build=lambda _: lambda q, _v: q
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Contenders that are timed in turn at one shape."""

    shape: Shape
    phases: tuple[str, ...]
    contenders: tuple[Contender, ...]
    rounds: int = ROUNDS


PEERS = (c.HUGGINGFACE, c.LUCID)
EXACT = c.SDPA[:2]
GROUPS = (  # what the bars need most comes first
    Group(
        shape=Shape(seq_len=64 * K),
        phases=(FORWARD, BOTH),
        contenders=(c.TRITON, PLAN, c.FLEX, *EXACT, *PEERS, c.CHUNKED),
    ),
    Group(shape=Shape(seq_len=1024 * K), phases=(FORWARD, BOTH), contenders=(c.TRITON, PLAN)),
    Group(
        shape=Shape(seq_len=16 * K),
        phases=(FORWARD, BOTH),
        contenders=(c.TRITON, PLAN, *c.SDPA, *PEERS),
    ),
    Group(shape=Shape(seq_len=4 * K, batch=8), phases=(BOTH,), contenders=(c.TRITON, *EXACT)),
    Group(
        shape=Shape(seq_len=256 * K),
        phases=(FORWARD, BOTH),
        contenders=(c.TRITON, PLAN, *EXACT),
        rounds=5,
    ),
)
STEP = Cell(
    contender="reformer-12-layers",
    model="reformer",
    attention="lsh",
    impl="triton",
    options={"hashes": c.HASHES, "chunk": c.CHUNK},
    phase="train_step",
    seq_len=1024 * K,
    batch=1,
    d_model=512,
    heads=8,
    d_ff=2048,
    layers=12,
    vocab=256,
    causal=True,
    dtype="bfloat16",
    device="cuda",
    threads=1,
    data="stdlib",
    seed=0,
)


def rehearsal() -> tuple[tuple[Group, ...], Cell]:
    """Return the same in small, for a CPU and Triton's interpreter."""
    shape = Shape(seq_len=96, heads=1, dim=32, dtype="float32", device="cpu")
    small = Group(
        shape=shape,
        phases=(FORWARD, BOTH),
        contenders=(c.TRITON, PLAN, c.FLEX, c.SDPA_ANY, *PEERS, c.CHUNKED),
        rounds=1,
    )
    step = {"seq_len": 128, "d_model": 32, "heads": 1, "d_ff": 32, "layers": 1}
    options = dict(STEP.options) | {"hashes": 1}
    return (small,), replace(STEP, **step, options=options, dtype="float32", device="cpu")


def cell_of(contender: Contender, shape: Shape, phase: str) -> Cell:
    """Return the cell that a figure is stored under; one layer of attention and nothing else."""
    return Cell(
        contender=contender.id,
        model="mechanism",
        attention=contender.attention,
        impl=contender.impl,
        options=dict(contender.options),
        phase=phase,
        seq_len=shape.seq_len,
        batch=shape.batch,
        d_model=shape.heads * shape.dim,
        heads=shape.heads,
        d_ff=0,
        layers=1,
        vocab=0,
        causal=True,
        dtype=contender.dtype or shape.dtype,
        device=shape.device,
        threads=1,
        data="clustered",
        seed=0,
    )


def header(run_id: str, groups: Iterable[Group], step: Cell, command: Sequence[str]) -> RunHeader:
    """Return what is asked."""
    cells = {}
    entries = {}
    for group in groups:
        for phase in group.phases:
            for one in group.contenders:
                if one is not PLAN or phase == FORWARD:
                    cell = cell_of(one, group.shape, phase)
                    cells[cell.id] = cell
                    entries[one.id] = Entry(
                        id=one.id,
                        model="mechanism",
                        attention=one.attention,
                        impl=one.impl,
                        options=dict(one.options),
                    )
    entries[step.contender] = Entry(
        id=step.contender, model=step.model, attention=step.attention, impl=step.impl
    )
    return RunHeader(
        run_id=run_id,
        suite=SUITE,
        suite_text="",
        question=QUESTION,
        command=tuple(command),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        contenders=tuple(entries.values()),
        metrics=("latency", "peak_memory"),
        protocol=Protocol(warmups=WARMUPS),
        cells=(*cells.values(), step),
    )
