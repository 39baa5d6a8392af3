"""Error: how far an approximate mechanism is from exact attention on the same vectors.

Every attention layer of the network is heard while the network, with its seeded untrained weights,
reads real text; then, for a sample of query rows, its output is compared with exact softmax
attention of the very same q, k and v, in float64. A mechanism with shared queries and keys is
compared with exact attention by its own rule (unit keys, itself only if alone).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.schema import Better, Measurement
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.proof import relative_errors, sample_rows
from models.variant import VARIANTS, Attention, Unsupported

ROWS = 64  # query rows a layer that are looked at
TINY = 1e-300  # an error of exactly zero has no ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One attention layer and what it was given and gave."""

    attention: Attention
    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor


def collect(bench: Bench) -> Findings:
    """Return the errors of each layer, in order of their calls.

    * `error`: relative Frobenius error of the output, |o - o*| / |o*|;
    * `error_eager`: the same of exact attention computed plainly in the cell's dtype, so that what
      is owed to the dtype is not blamed on the mechanism;
    * `attention_recall`: the share of exact softmax mass on keys that the mechanism visits.

    Raises:
        Unsupported: no exact counterpart of the mechanism is known.
    """
    work = bench.fresh()
    rows = spread_rows(work.cell.seq_len, work.cell.seed).to(work.tokens.device)
    found: dict[str, list[float]] = {"error": [], "error_eager": [], "attention_recall": []}
    with torch.no_grad():
        for heard in listen(work.model, lambda: work.model(work.tokens)):
            exact = counterpart(heard.attention, work.cell.seq_len, heard.q.shape[-1])
            plain = exact(heard.q.dtype)
            q, k, v = heard.q.double(), heard.k.double(), heard.v.double()
            wanted = {"values": exact(torch.float64).rows(q, k, v, rows)}
            eager = plain.rows(heard.q, heard.k, heard.v, rows)
            got = {"values": heard.output[:, :, rows]}
            found["error"].append(relative_errors(got, wanted)["values"])
            found["error_eager"].append(relative_errors({"values": eager}, wanted)["values"])
            mine = weights(heard.attention, heard.q, heard.k, rows)
            exactly = weights(exact(torch.float64), q, k, rows)
            found["attention_recall"].append(recall(mine, exactly))
    ratio = max(found["error"]) / max(*found["error_eager"], TINY)
    return Findings(
        measurements=(
            _measured("error", found, "lower", "relative Frobenius error of the output"),
            _measured("error_eager", found, "lower", "the same of eager exact attention"),
            _measured("attention_recall", found, "higher", "exact softmax mass on visited keys"),
        ),
        facts={**work.facts, "error_rows": len(rows), "error_over_eager": ratio},
    )


def spread_rows(seq_len: int, seed: int) -> Tensor:
    """Return at most `ROWS` positions from all over the sequence, the last among them."""
    rows = sample_rows(seq_len, torch.Generator().manual_seed(seed))
    return rows.flip(0)[:: math.ceil(len(rows) / ROWS)].flip(0)


def listen(model: nn.Module, read: Callable[[], object]) -> list[Heard]:
    """Run a network once and return its attention layers in order of their calls."""
    heard: list[Heard] = []

    def hear(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(module, Attention)
        q, k, v = (x.detach().clone() for x in inputs[:3])
        heard.append(Heard(attention=module, q=q, k=k, v=v, output=output.detach().clone()))

    with _hooked(model, hear):
        read()
    return heard


@contextmanager
def _hooked(model: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def counterpart(
    attention: Attention, seq_len: int, head_dim: int
) -> Callable[[torch.dtype], Attention]:
    """Return what builds, in a dtype, the exact attention that a mechanism approximates.

    Full attention; for shared queries and keys the mechanism itself with a single chunk, in which
    everybody meets everybody.

    Raises:
        Unsupported: it shares queries and keys and has no chunk to widen.
    """
    options: Any = getattr(attention, "options", None)
    causal = bool(getattr(attention, "causal", True))
    if not attention.shared_qk:
        full = VARIANTS.load("full")
        return lambda dtype: full.module(
            full.options(), causal=causal, impl="eager", head_dim=head_dim
        ).to(dtype=dtype)
    if options is None or "chunk" not in {field.name for field in fields(options)}:
        name = type(attention).__name__
        raise Unsupported(f"error: no exact counterpart of {name} is known: it has no chunk")
    wide = replace(options, chunk=seq_len, buckets=None)
    build: Any = type(attention)
    return lambda dtype: build(wide, causal=causal, impl="reference", head_dim=head_dim).to(
        dtype=dtype
    )


def weights(attention: Attention, q: Tensor, k: Tensor, rows: Tensor) -> Tensor:
    """Return the weights `[batch, heads, rows, keys]` that a mechanism gives to values.

    Whatever is linear in the values tells its weights when these are unit vectors: the keys are
    probed in blocks as wide as a head.
    """
    width = q.shape[-1]
    parts: list[Tensor] = []
    for begin in range(0, q.shape[2], width):
        probe = torch.zeros_like(q)
        keys = torch.arange(begin, min(begin + width, q.shape[2]), device=q.device)
        probe[:, :, keys, keys - begin] = 1
        parts.append(attention.rows(q, k, probe, rows)[..., : len(keys)])
    return torch.cat(parts, dim=-1)


def recall(mine: Tensor, exact: Tensor) -> float:
    """Return the mean over rows of the exact mass on keys to which `mine` gives any weight."""
    return torch.where(mine != 0, exact, torch.zeros_like(exact)).sum(dim=-1).mean().item()


def _measured(name: str, found: dict[str, list[float]], better: Better, what: str) -> Measurement:
    method = f"{what}, untrained weights on real text, one sample a layer"
    return Measurement(
        metric=name, unit="1", better=better, samples=tuple(found[name]), method=method
    )


METRIC = Metric(collect=collect, headline="error")
