"""When to stop sampling, and the quiet in which a sample is taken."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from harness.schema import Protocol

# Samples that suffice once the time budget is spent: with four on either side, all of one below all
# of the other is chance in 2 of 70 orders, so that a difference can still be shown at 95 %.
FEWEST = 4
NS = 1_000_000_000


def stop_reason(protocol: Protocol, count: int, elapsed_ns: int) -> str | None:
    """Return why sampling stops here, or None while it goes on.

    Args:
        protocol: the limits.
        count: samples taken so far, warm-ups excluded.
        elapsed_ns: wall time since the first of them began.

    Returns:
        `enough` at `min_samples` and `min_time_s`; `max_time` past `max_time_s` with four
        samples; `max_samples`; else None.
    """
    if count >= protocol.min_samples and elapsed_ns >= protocol.min_time_s * NS:
        return "enough"
    if count >= FEWEST and elapsed_ns >= protocol.max_time_s * NS:
        return "max_time"
    return "max_samples" if count >= protocol.max_samples else None


def share(protocol: Protocol) -> Protocol:
    """Return what one of the protocol's launches has to do: its part of samples and time."""
    parts = protocol.launches
    return replace(
        protocol,
        launches=1,
        min_samples=math.ceil(protocol.min_samples / parts),
        max_samples=math.ceil(protocol.max_samples / parts),
        min_time_s=protocol.min_time_s / parts,
        max_time_s=protocol.max_time_s / parts,
    )


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect garbage, then keep Python's collector from running inside a sample."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def collect_young() -> None:
    """Collect what the last step left behind, between samples; older objects are not walked."""
    gc.collect(0)
