"""The records that pass between office, laboratory, store and dashboard, and their units.

Standard library only. Files and the hatch to a worker carry these records as JSON through
`harness.codec`. Durations are integer nanoseconds, sizes integer bytes; whoever prints them scales.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from harness.codec import canonical, encode

SCHEMA_VERSION = 1
MODELS = ("transformer", "reformer", "seq2seq")  # modules of models/ that define MODEL
PEERS = (  # modules of models/peers/: networks of other packages, with an attention of their own
    "huggingface_bigbird",
    "huggingface_longformer",
    "huggingface_reformer",
    "reformer_pytorch",
)
OWN = "own"  # attention and impl of a peer
PHASES = ("forward", "train_step", "prefill", "decode")
DTYPES = ("float32", "bfloat16", "float16", "float64")
DEVICES = ("cpu", "cuda")
PAIRINGS = ("apart", "chunked")  # how launches of different contenders meet, see Protocol.pairing
LATE = ("memory_bytes", "task")  # fields of a cell that joined later, no part of an id while None

Unit = Literal["ns", "byte", "flop", "J", "1"]
Better = Literal["lower", "higher"]


class Outcome(StrEnum):
    """How a cell ended. Everything but `OK` comes with a reason."""

    OK = "ok"
    WRONG = "wrong"  # values or gradients differ from the float64 reference
    OUT_OF_MEMORY = "out_of_memory"
    IMPLIED = "implied"  # a shorter cell of the same contender ran out of memory or time
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"  # the mechanism or impl says that it cannot run this cell
    CRASHED = "crashed"  # the process died by a signal or left without a word
    ERROR = "error"  # an exception that none of the above names
    SKIPPED = "skipped"  # left out by the suite, with its reason
    DIVERGED = "diverged"  # training ended in a loss that is no number, at every learning rate


FAULTS = frozenset({Outcome.WRONG, Outcome.CRASHED, Outcome.ERROR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the grid: what is measured. Two cells are the same iff their ids are equal."""

    contender: str  # the entry of the suite that this cell belongs to
    model: str  # transformer, reformer, ...
    attention: str  # name of the variant, a file in models/variants/ or a plugin
    impl: str  # the way to compute it; `auto` lets the variant choose and say what it chose
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of model and variant
    phase: str  # one of PHASES
    seq_len: int
    batch: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    vocab: int
    causal: bool
    dtype: str  # one of DTYPES
    device: str  # one of DEVICES
    threads: int  # intra-operation threads on a CPU
    data: str  # `stdlib` or the name of the user's file; its digest is in the environment
    seed: int
    memory_bytes: int | None = None  # budget of the step, inputs and parameters; None: the machine
    task: str | None = None  # what is learnt, a file in worker/tasks/; None: the next byte of text

    @property
    def id(self) -> str:
        """A readable slug and a hash of the canonical JSON, fit for a file name."""
        told = encode(self)
        for name in LATE:  # the id that cells had before there was such a field
            if told[name] is None:
                del told[name]
        digest = hashlib.sha256(canonical(told).encode()).hexdigest()[:8]
        what = self.phase if self.task is None else self.task
        return f"{self.contender}-{what}-{self.seq_len}-{self.dtype}-{self.device}-{digest}"

    @property
    def tokens(self) -> int:
        """Tokens that one step processes."""
        return self.batch * self.seq_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How each cell is measured; the same for all cells of a run."""

    launches: int = 1  # processes that time a cell, in turn; they share the samples and times
    # chunked: contenders of one phase and length are alive together and are timed in turns of some
    # milliseconds, so that drift and neighbours meet all of them; apart: one process at a time
    pairing: str = "apart"
    warmups: int = 1  # steps of a launch before its first sample, kept apart from the samples
    min_samples: int = 10  # sample at least so often, unless max_time_s ends it first
    max_samples: int = 200
    min_time_s: float = 0.5  # sample at least for so long
    max_time_s: float = 20.0  # past this, four samples are enough
    timeout_s: float = 300.0  # of the whole cell: then its process is killed
    memory_limit_bytes: int | None = None  # of a CPU cell; None: 80 % of what is available
    order_seed: int = 0  # of the random order of contenders


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the network of a cell with a task is trained; None stands for the task's own value.

    The budget is the same for every contender and every learning rate.
    """

    steps: int | None = None
    seconds: float | None = None  # of one training: CPU time on a CPU, wall time on CUDA; None: any
    learning_rates: tuple[float, ...] | None = None  # the best by validation counts
    seeds: int = 3  # trainings a learning rate: the cell's seed and those that follow it
    warmup: int = 100  # steps of linear growth of the learning rate, before the cosine
    weight_decay: float = 0.0
    eval_every: int | None = None  # steps between two looks at the validation examples
    examples: int = 256  # validation examples, and test examples
    stop_at: float | None = None  # score of two looks in a row at which training ends early
    target: float | None = None  # score whose time and steps are told; None: the task's floor
    dense_until: float | None = None  # shared-QK mechanisms attend to all until this score
    processes: int | None = None  # trainings at a time on a CPU; None: as many as there are cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What else the trained weights of a cell with a task are judged by."""

    hashes: tuple[Any, ...] = ()  # the hash ladder: rounds, `dense`, `plain`
    chunk: int | None = None  # of the ladder's rounds, for a mechanism that has no chunk
    seq_len: tuple[int, ...] = ()  # other lengths
    margin: float = 0.02  # a score this near the best is as good when the cheapest is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One metric of one cell: raw values in order of measurement, never a summary."""

    metric: str  # what was measured: latency, latency_wall, peak_memory, flops_executed, ...
    unit: Unit
    better: Better
    samples: tuple[float, ...]  # integers where the unit is ns, byte or flop
    warmups: tuple[float, ...] = ()
    stop: str = "single"  # why sampling stopped: single, enough, max_time, max_samples
    method: str = ""  # the instrument, in words: "process CPU time, 1 thread"
    launches: tuple[int, ...] = ()  # how many of the samples each process took; (): all one process
    sittings: tuple[str, ...] = ()  # by launch, with whom it took turns: equal names make a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What must be equal before two results may be compared, and what helps to explain them."""

    fields: Mapping[str, Any]  # flat: no paths, no user names

    @property
    def id(self) -> str:
        """Content address: twelve hexadecimal digits."""
        return hashlib.sha256(canonical(encode(self)).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A place at a sitting: processes that are timed in turns, see `harness.sitting`."""

    sitting: str  # its name, unique in a run
    address: str  # of the referee, a Unix socket
    number: int  # from 0
    of: int  # places
    core: int | None = None  # the processor that all of them are timed on; None: any


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What goes through the hatch: a cell and how to measure it on this machine."""

    cell: Cell
    metrics: tuple[str, ...]  # names of files in worker/metrics/
    protocol: Protocol
    data_path: str | None = None  # the user's corpus; None: the standard library's sources
    plugins: tuple[str, ...] = ()  # files that hold variants from outside
    artifacts: str | None = None  # folder for what the worker writes beside its answer
    launch: int = 0  # which of the protocol's launches; later ones only time and prove
    audit: bool = False  # look for code that cheats the clock or the proof
    seat: Seat | None = None  # where to wait for turns before timing; None: time alone
    training: Training | None = None  # of a cell with a task
    evaluation: Evaluation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one cell."""

    cell: Cell
    outcome: Outcome
    reason: str | None = None  # never None unless the outcome is `ok`
    measurements: tuple[Measurement, ...] = ()  # those that were finished, whatever the outcome
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])  # parameters, proof, impl
    environment: str | None = None  # id; None where no process lived long enough to tell
    stage: str | None = None  # the pass in which the cell ended, if it did not end well
    requested_bytes: int | None = None  # what an out-of-memory asked for, where known
    attempt: int = 1
    started_at: str = ""  # ISO 8601, UTC
    wall_ns: int = 0  # from hand-over to the last byte of the answer, as the runner saw it
    measured_ns: int = 0  # of that, spent inside proof and metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """An entry of a suite; the first is the baseline."""

    id: str
    model: str
    attention: str
    impl: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """What was asked: written before the first cell."""

    run_id: str
    suite: str  # name
    suite_text: str  # verbatim YAML
    overrides: tuple[str, ...] = ()  # --set path=value, as given
    question: str
    command: tuple[str, ...]  # arguments after `python -m harness`
    created_at: str  # ISO 8601, UTC
    contenders: tuple[Contender, ...]
    metrics: tuple[str, ...]
    protocol: Protocol
    cells: tuple[Cell, ...]  # every planned cell, in the order of execution
    gate: Mapping[str, Any] = field(default_factory=dict[str, Any])
    plugins: tuple[str, ...] = ()  # names of the variants that came from outside
    frontier: Mapping[str, Any] | None = None  # search, see frontier.py; `cells` are its starts
    training: Training | None = None  # of cells with a task
    evaluation: Evaluation | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Header and results of one execution of a suite."""

    header: RunHeader
    results: tuple[Result, ...]  # the last attempt of each cell, in planned order
    environments: Mapping[str, Environment]
    notes: tuple[str, ...] = ()  # torn lines and the like, for the reader's eyes

    @property
    def by_cell(self) -> dict[str, Result]:
        """Results by cell id."""
        return {result.cell.id: result for result in self.results}
