"""The rates that a device reaches on the spot: a large matrix product, and a copy.

What the data sheet promises (`harness.datasheet`) is not what a card under its power cap reaches,
and a processor has no data sheet: both are asked of the device itself, once for each device, dtype
and number of threads of a run. The fork server remembers them (`learn`), and every later cell
inherits them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from harness.schema import Cell
from harness.worker.clock import Clock

BUDGET_NS = 120_000_000  # of each of the two, after it has been sized
_LONG_ENOUGH_NS = {"cpu": 10_000_000, "cuda": 2_000_000}  # a shorter call measures its launch
_SMALLEST, _LARGEST = 128, 8192  # rows and columns of the matrices
_COPY_BYTES = {"cpu": 96 << 20, "cuda": 1 << 30}  # larger than any last-level cache that we know of
_NS = 1_000_000_000

_known: dict[str, Mapping[str, Any]] = {}


def key(cell: Cell) -> str:
    """Return what peak rates depend on, within one run."""
    return f"{cell.device} {cell.dtype} {cell.threads}"


def learn(name: str, rates: Mapping[str, Any]) -> None:
    """Remember the rates that a child of this process has measured."""
    _known[name] = rates


def peaks(cell: Cell, clock: Clock, cuda: Any = torch.cuda) -> Mapping[str, Any]:
    """Return the device's rates, measured now unless this process knows them.

    `flops_per_s` is that of a square matrix product in the cell's dtype, `bytes_per_s` that of a
    copy, read and write both counted. On a CPU the second is one of process CPU time, as in
    `latency`, so that shares of the peak do not depend on the threads. A rate that could not be
    measured is None, and `unknown` says why.
    """
    name = key(cell)
    if name not in _known:
        _known[name] = _measure(cell, clock, cuda)
    return _known[name]


def _measure(cell: Cell, clock: Clock, cuda: Any) -> Mapping[str, Any]:
    unknown: list[str] = []

    def tried(what: str, rate: Callable[[], float]) -> float | None:
        try:
            return rate()
        except (RuntimeError, MemoryError) as error:  # no memory left, or no such product
            unknown.append(f"{what}: {str(error).partition(chr(10))[0][:120]}")
            return None

    timed = _Timer(cell.device, clock, cuda)
    found = {
        "flops_per_s": tried("matrix product", lambda: _product(cell, timed)),
        "bytes_per_s": tried("copy", lambda: _copy(cell, timed)),
    }
    how = "mean, process CPU time" if cell.device == "cpu" else "best, device time"
    method = f"square matrix products and copies, repeated: {how}"
    return {**found, "method": method, "unknown": "; ".join(unknown) or None}


def _product(cell: Cell, timed: _Timer) -> float:
    """Return FLOP/s of `n x n` by `n x n`, with n doubled until one product lasts long enough."""
    n = _SMALLEST
    while True:
        # Normal numbers: on zeros a card draws less power and runs faster than on data.
        a, b = (_normal((n, n), cell) for _ in range(2))
        out = torch.empty_like(a)
        timed(lambda: torch.mm(a, b, out=out))  # noqa: B023 - called here, before n changes
        took = timed(lambda: torch.mm(a, b, out=out))  # noqa: B023 - the same
        if took >= _LONG_ENOUGH_NS[cell.device] or n >= _LARGEST:
            break
        n *= 2
    return 2 * n**3 * _NS / timed.repeated(lambda: torch.mm(a, b, out=out))


def _copy(cell: Cell, timed: _Timer) -> float:
    """Return bytes/s of a copy, read and written."""
    size = _COPY_BYTES[cell.device]
    source = torch.ones(size, dtype=torch.uint8, device=cell.device)
    target = torch.zeros_like(source)
    return 2 * size * _NS / timed.repeated(lambda: target.copy_(source))


def _normal(shape: tuple[int, ...], cell: Cell) -> torch.Tensor:
    generator = torch.Generator().manual_seed(cell.seed)
    return torch.randn(shape, generator=generator).to(cell.device, getattr(torch, cell.dtype))


class _Timer:
    """Nanoseconds of one call, on the clock that latency is read from."""

    def __init__(self, device: str, clock: Clock, cuda: Any) -> None:
        self._clock = clock
        self._cuda = cuda if device == "cuda" else None

    def __call__(self, call: Callable[[], object]) -> int:
        """Time one call."""
        if self._cuda is None:
            begin = self._clock.cpu_ns()
            call()
            return max(1, self._clock.cpu_ns() - begin)
        start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        self._cuda.synchronize()
        return max(1, round(start.elapsed_time(end) * 1e6))

    def repeated(self, call: Callable[[], object]) -> float:
        """Return the time of one call, of at least three within the budget and one to warm up.

        On a CPU it is the mean: preemption costs no CPU time, while the kernel adds that of other
        threads late, so that the shortest of several calls would be too short. On CUDA it is the
        shortest, which a falling clock has not reached yet.
        """
        self(call)
        begin, times = self._clock.wall_ns(), [self(call) for _ in range(3)]
        while self._clock.wall_ns() - begin < BUDGET_NS:
            times.append(self(call))
        return min(times) if self._cuda else sum(times) / len(times)
