"""What the figures are held to. Pure: figures in, rows out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.cuda.contenders import BOTH, FORWARD

K = 1024
OURS = "lsh-triton"
CARD = "H200"  # for which the bars in milliseconds were set


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured of one contender in one place."""

    contender: str
    phase: str
    seq_len: int
    batch: int
    samples_ns: tuple[float, ...] = ()
    peak_bytes: int | None = None  # beyond inputs, by the allocator
    reason: str | None = None  # why there is none

    @property
    def ms(self) -> float:
        """The median."""
        return median(self.samples_ns) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One bar and what was reached."""

    name: str
    bar: str
    reached: float | None
    holds: bool | None  # None: not measured
    note: str = ""

    def __str__(self) -> str:
        verdict = {True: "reached", False: "MISSED", None: "not measured"}[self.holds]
        value = "-" if self.reached is None else f"{self.reached:.3g}"
        return f"{self.name:58} {self.bar:>10} {value:>10}  {verdict} {self.note}".rstrip()


class Figures:
    """Figures by place."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._by = {(f.contender, f.phase, f.seq_len, f.batch): f for f in figures}

    def get(self, contender: str, phase: str, seq_len: int, batch: int = 1) -> Figure | None:
        """Return a figure that was measured, or None."""
        found = self._by.get((contender, phase, seq_len, batch))
        return found if found is not None and found.samples_ns else None

    def best(self, prefix: str, phase: str, seq_len: int, batch: int = 1) -> Figure | None:
        """Return the fastest of the contenders whose names begin so."""
        names = {name for name, *_ in self._by if name.startswith(prefix)}
        found = (self.get(name, phase, seq_len, batch) for name in names)
        return min((f for f in found if f is not None), key=lambda f: f.ms, default=None)


def rows(figures: Iterable[Figure], extra: Mapping[str, float]) -> list[Row]:
    """Return every bar. `extra`: `step_s`, `step_bytes` of the whole model, where measured."""
    by = Figures(figures)
    found = [
        _time(by, phase, n, limit)
        for phase, n, limit in (
            (FORWARD, 64 * K, 0.60),
            (BOTH, 64 * K, 1.8),
            (FORWARD, 1024 * K, 12.0),
            (BOTH, 1024 * K, 35.0),
        )
    ]
    found += [_ratio(by, "sdpa-", BOTH, n * K, bar) for n, bar in ((16, 4), (64, 15), (256, 60))]
    for peer in ("huggingface", "reformer-pytorch"):
        for n in (16 * K, 64 * K):
            found.append(_ratio(by, peer, BOTH, n, 10))
            found.append(_memory(by, peer, BOTH, n, 8))
    found += [_ratio(by, "lsh-flex", phase, 64 * K, 2) for phase in (FORWARD, BOTH)]
    found.append(_ratio(by, "sdpa-", BOTH, 4 * K, 1, batch=8))
    found += [_share(by, n * K) for n in (16, 64, 256)]
    for name, key, limit, unit in (
        ("training step, 12 layers, d_model 512, 1M tokens, s", "step_s", 1.5, 1),
        ("the same, peak memory, GB", "step_bytes", 60, 1e9),
    ):
        value = extra[key] / unit if key in extra else None
        holds = None if value is None else value < limit
        found.append(Row(name=name, bar=f"< {limit:g}", reached=value, holds=holds))
    return found


def _time(by: Figures, phase: str, n: int, limit: float) -> Row:
    ours = by.get(OURS, phase, n)
    value = None if ours is None else ours.ms
    return Row(
        name=f"{OURS} {phase} {n // K}k, ms",
        bar=f"<= {limit:g}",
        reached=value,
        holds=None if value is None else value <= limit,
    )


def _ratio(by: Figures, peer: str, phase: str, n: int, bar: float, batch: int = 1) -> Row:
    ours, other = by.get(OURS, phase, n, batch), by.best(peer, phase, n, batch)
    value = None if ours is None or other is None else other.ms / ours.ms
    return Row(
        name=f"time of {peer.rstrip('-')} / ours, {phase} {n // K}k"
        + f" batch {batch}" * (batch > 1),
        bar=f">= {bar:g}",
        reached=value,
        holds=None if value is None else value >= bar,
        note="" if other is None else f"({other.contender})",
    )


def _memory(by: Figures, peer: str, phase: str, n: int, bar: float) -> Row:
    ours, other = by.get(OURS, phase, n), by.get(peer, phase, n)
    known = ours and other and ours.peak_bytes and other.peak_bytes
    value = other.peak_bytes / ours.peak_bytes if known else None  # type: ignore[union-attr, operator]
    return Row(
        name=f"memory of {peer} / ours, {phase} {n // K}k",
        bar=f">= {bar:g}",
        reached=value,
        holds=None if value is None else value >= bar,
    )


def _share(by: Figures, n: int) -> Row:
    ours, plan = by.get(OURS, FORWARD, n), by.get("plan", FORWARD, n)
    value = None if ours is None or plan is None else 100 * plan.ms / ours.ms
    return Row(
        name=f"hash, sort and inverse, % of the forward, {n // K}k",
        bar="<= 15",
        reached=value,
        holds=None if value is None else value <= 15,
    )
