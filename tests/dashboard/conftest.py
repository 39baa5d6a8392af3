"""Synthetic runs, written through the store's own writer: no model, no measuring, no GPU."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import store
from harness.schema import (
    Better,
    Cell,
    Contender,
    Environment,
    Measurement,
    Outcome,
    Protocol,
    Result,
    RunHeader,
    Unit,
)

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
CONTENDERS = ("transformer", "transformer-eager", "reformer", "local", "linear", "broken", "odd")
VARIANTS = {"reformer": "lsh", "local": "local", "linear": "linear", "broken": "performer",
            "odd": "linformer"}  # fmt: skip
LAPTOP = Environment(fields={"cpu": "a processor", "device": "cpu"})
SERVER = Environment(fields={"cpu": "another processor", "device": "cpu"})
MiB = 2**20


def cell(contender: str, seq_len: int, phase: str = "forward", **changes: object) -> Cell:
    plain = Cell(
        contender=contender,
        model="transformer",
        attention=VARIANTS.get(contender, "full"),
        impl="sdpa",
        phase=phase,
        seq_len=seq_len,
        batch=1,
        d_model=256,
        heads=4,
        d_ff=1024,
        layers=2,
        vocab=256,
        causal=True,
        dtype="float32",
        device="cpu",
        threads=2,
        data="stdlib",
        seed=0,
    )
    return replace(plain, **changes)


def ok(of: Cell, seconds: float, memory: float, samples: int = 11) -> Result:
    """A measured cell: noise of 2 %, the same for every call."""
    dice = random.Random(f"{of.contender} {of.seq_len} {of.phase}")
    times = tuple(round(seconds * 1e9 * dice.lognormvariate(0, 0.02)) for _ in range(samples))
    latency = Measurement(
        metric="latency",
        unit="ns",
        better="lower",
        samples=times,
        stop="enough",
        method="process CPU time, 2 threads",
    )
    peak = Measurement(metric="peak_memory", unit="byte", better="lower", samples=(round(memory),))
    return Result(cell=of, outcome=Outcome.OK, measurements=(latency, peak), environment=LAPTOP.id)


def failed(of: Cell, outcome: Outcome, reason: str) -> Result:
    return Result(cell=of, outcome=outcome, reason=reason, environment=LAPTOP.id)


SPEED = {  # seconds at 1k tokens: linear and quadratic part
    "transformer": (0.010, 0.004),
    "transformer-eager": (0.012, 0.006),
    "reformer": (0.030, 0.0),
    "local": (0.009, 0.0),
    "linear": (0.011, 0.0),
}
MEMORY = {  # MiB: fixed, linear and quadratic part
    "transformer": (40, 9, 0),
    "transformer-eager": (40, 8, 30),
    "reformer": (60, 14, 0),
    "local": (38, 6, 0),
    "linear": (40, 6, 0),
}
ENDS = {  # what has no number
    ("transformer", 16384): (Outcome.TIMEOUT, "no answer within 300 s"),
    ("transformer-eager", 8192): (Outcome.OUT_OF_MEMORY, "tried to allocate 4.0 GiB"),
    ("transformer-eager", 16384): (Outcome.IMPLIED, "8192 tokens ran out of memory"),
    ("local", 2048): (Outcome.ERROR, "RuntimeError: <b>bold</b> & $x^2$"),
    ("linear", 512): (Outcome.SKIPPED, "excluded: shorter than its state"),
    ("linear", 1024): (Outcome.SKIPPED, "excluded: shorter than its state"),
    ("broken", 8192): (Outcome.CRASHED, "killed by SIGSEGV"),
    **{("broken", n): (Outcome.WRONG, "differs by 0.3") for n in LENGTHS[:4]},
    **{("odd", n): (Outcome.UNSUPPORTED, "flex needs CUDA") for n in LENGTHS},
}
LOST = ("broken", 16384)  # its process was killed together with its writer


def outcome(contender: str, n: int, phase: str) -> Result:
    """What came of one cell of the full run."""
    of, k = cell(contender, n, phase), n / 1024
    if (contender, n) in ENDS:
        return failed(of, *ENDS[contender, n])
    fixed, slope, square = MEMORY[contender]
    linear, quadratic = SPEED[contender]
    memory = (fixed + slope * k + square * k**2) * MiB
    done = ok(of, linear * k + quadratic * k**2, memory)
    return replace(done, environment=SERVER.id) if contender == "linear" else done


def write(
    root: Path,
    run_id: str,
    contenders: tuple[str, ...],
    results: list[Result],
    lost: tuple[Cell, ...] = (),
    created_at: str | None = None,
    environments: tuple[Environment, ...] = (LAPTOP, SERVER),
) -> Path:
    header = RunHeader(
        run_id=run_id,
        suite="long_seq",
        suite_text="version: 1\n",
        question="Which model is fastest as sequences grow, and where do the curves cross?",
        command=("run", "suites/long_seq.yaml"),
        created_at=created_at or f"2026-11-{10 + len(run_id) % 20}T09:10:11+00:00",
        contenders=tuple(
            Contender(id=name, model="transformer", attention="full", impl="sdpa")
            for name in contenders
        ),
        metrics=("latency", "peak_memory"),
        protocol=Protocol(),
        cells=(*(result.cell for result in results), *lost),
    )
    with store.Writer.create(root, header) as writer:
        for environment in environments:
            writer.environment(environment)
        for result in results:
            writer.start(result.cell, 1)
            writer.end(result)
        writer.finish("finished")
    return writer.folder


def write_full(root: Path) -> Path:
    """Every outcome, two phases, two environments, one torn shard and one lost cell."""
    grid = [(c, n, p) for p in ("forward", "train_step") for n in LENGTHS for c in CONTENDERS]
    lost = tuple(cell(*point) for point in grid if point[:2] == LOST)
    results = [outcome(*point) for point in grid if point[:2] != LOST]
    folder = write(root, "full", CONTENDERS, results, lost)
    with store.Writer.resume(folder) as writer:
        for of in lost:
            writer.start(of, 1)
        writer.finish("interrupted")
    newest = max((folder / "shards").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    text = newest.read_text().replace('"process_created_s":', '"process_created_s":-')
    newest.write_text(text.removesuffix('{"kind":"closed"}\n') + '{"kind":"cell_end","resu')
    return folder


def write_one(root: Path) -> Path:
    return write(root, "one", ("transformer",), [ok(cell("transformer", 512), 0.01, MiB, 3)])


def write_failures(root: Path) -> Path:
    results = [
        failed(cell(name, n), Outcome.OUT_OF_MEMORY, "tried to allocate 4.0 GiB")
        for name in CONTENDERS[:3]
        for n in LENGTHS[:3]
    ]
    return write(root, "failures", CONTENDERS[:3], results)


def write_nothing(root: Path) -> Path:
    root.mkdir(parents=True)
    return root


def write_torn(root: Path) -> Path:
    """A run whose only shard ends in the middle of a line."""
    results = [outcome(name, n, "forward") for name in CONTENDERS[:2] for n in LENGTHS[:3]]
    folder = write(root, "torn", CONTENDERS[:2], results)
    (shard,) = (folder / "shards").iterdir()
    text = shard.read_text().replace('"process_created_s":', '"process_created_s":-')
    shard.write_text(text[: int(len(text) * 0.8)])
    return folder


def write_two(root: Path) -> Path:
    """Two runs of one suite on two machines."""
    for run_id, where in (("laptop", LAPTOP), ("server", SERVER)):
        results = [
            replace(outcome(name, n, "forward"), environment=where.id)
            for name in CONTENDERS[:3]
            for n in LENGTHS[:4]
        ]
        write(root, run_id, CONTENDERS[:3], results, environments=(where,))
    return root


# Names that a page, a chart or a Markdown table would run or link if it did not show them.
SCRIPT, LINK = "<script>alert(1)</script>", "[x](javascript:alert(1))"
RUNS = 12  # of `write_much`; from the seventh on SCRIPT takes longer


def write_much(root: Path) -> Path:
    """Runs with everything that pages look for: quality, profiles, ledgers, a step in history."""
    names = ("transformer", SCRIPT, LINK)
    for i in range(RUNS):
        results = [
            measured(name, n, hashes, slow=1.5 if i >= 6 and name == SCRIPT else 1.0, seed=i)
            for n in (512, 1024, 2048, 4096)
            for name in names
            for hashes in ((2, 4, 8) if name == LINK else (None,))
        ]
        created = f"2026-11-{i + 1:02d}T09:10:11+00:00"
        folder = write(root, f"run-{i:02d}", names, results, created_at=created)
        for result in results if i == RUNS - 1 else ():
            left = folder / "artifacts" / result.cell.id
            left.mkdir(parents=True)
            (left / "trace.json.gz").write_bytes(b"trace")
            (left / "memory_timeline.json").write_text(json.dumps(TIMELINE))
    return root


TIMELINE = {
    "columns": ["at_ns", "parameters_bytes", "activations_bytes", "part"],
    "changes": 900,
    "points": [[i * 1000, MiB, MiB * (1 + i % 7), "forward" if i < 450 else "loss"]
               for i in range(900)],
}  # fmt: skip


def measured(name: str, n: int, hashes: int | None, slow: float, seed: int) -> Result:
    """A cell with all that a worker can find out."""
    lsh = {"attention": "lsh", "options": {"hashes": hashes, "chunk": 64}} if hashes else {}
    of = cell(name, n, **lsh)
    seconds = slow * 0.01 * (n / 1024) * (hashes or 2)
    plain = ok(of, seconds, MiB * n / 64)
    dice = random.Random(seed)
    times = tuple(round(t * dice.lognormvariate(0, 0.003)) for t in plain.measurements[0].samples)

    def one(metric: str, unit: Unit, value: float, better: Better = "lower") -> Measurement:
        method = "an instrument"
        return Measurement(metric=metric, unit=unit, better=better, samples=(value,), method=method)

    more = (
        replace(plain.measurements[0], samples=times, launches=(6, 5)),
        plain.measurements[1],
        one("error", "1", 0.5 / (hashes or 8)),
        one("quality", "1", 0.9 - 0.3 / (hashes or 8), "higher"),
        one("energy", "J", 0.5 * seconds),
        one("flops_model", "flop", 1e6 * n),
        one("flops_executed", "flop", 1e6 * n),
        one("bytes_operands", "byte", 1e4 * n),
        *(one(f"profile_{part}", "ns", share * 1e9 * seconds) for part, share in PARTS.items()),
        one("profile_step", "ns", 1e9 * seconds),
        one("ledger_parameters", "byte", MiB),
        one("ledger_activations", "byte", MiB * n / 64),
        one("ledger_total", "byte", MiB * n / 64 + MiB),
    )
    peaks = {"flops_per_s": 1e11, "bytes_per_s": 2e10, "method": "square products"}
    top = [["aten::mm", "matrix_product", 5e6, 3]]
    facts = {"peaks": peaks, "profile": {"top": top, "steps": 3, "explained": 0.99}}
    return replace(plain, measurements=more, facts=facts)


PARTS = {"matrix_product": 0.5, "softmax": 0.2, "sort": 0.1, "copy": 0.1, "unattributed": 0.1}
SCENES: dict[str, Callable[[Path], Path]] = {
    "no runs": write_nothing,
    "one cell": write_one,
    "all out of memory": write_failures,
    "full": write_full,
    "two environments": write_two,
    "torn shard": write_torn,
    "much": write_much,
}


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results folders by name; read only."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, make in SCENES.items():
        make(folder / name)
    return {name: folder / name for name in SCENES}
