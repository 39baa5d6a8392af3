"""A step as a CUDA graph: one launch for all of its kernels, or why it cannot be one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A captured step, or the reason why there is none."""

    replay: Callable[[], object] | None = None
    release: Callable[[], object] = lambda: None  # gives the graph's memory back
    reason: str | None = None


def capture(step: Callable[[], Any], cuda: Any) -> Graph:
    """Capture a step that has run before.

    A step that waits for the device would break the capture and leave the process's CUDA context
    in doubt: one such step is first tried where torch turns every wait into an error. A replay
    that leaves its output as it was computes elsewhere and is refused.

    Args:
        step: queues its work on the current stream and returns a floating-point tensor.
        cuda: streams and graphs; `torch.cuda`.
    """
    if not hasattr(cuda, "CUDAGraph"):
        return Graph(reason="this torch has no CUDA graphs")
    try:
        with _side_stream(cuda), _waits_are_errors(cuda):
            step()
    except torch.OutOfMemoryError as error:
        return Graph(reason=f"no memory for a capture: {_first_line(error)}")
    except RuntimeError as error:
        return Graph(reason=f"the step needs the host: {_first_line(error)}")
    graph = cuda.CUDAGraph()
    try:
        with _stream_restored(cuda), cuda.graph(graph):
            output = step()
        written = _is_written(graph, output, cuda)
    except RuntimeError as error:
        return Graph(reason=f"the capture failed: {_first_line(error)}")
    if not written:
        graph.reset()
        return Graph(reason="a replay did not write the step's output")
    return Graph(replay=graph.replay, release=graph.reset)


def _is_written(graph: Any, output: torch.Tensor, cuda: Any) -> bool:
    output.fill_(torch.nan)
    graph.replay()
    cuda.synchronize()
    return bool(torch.isfinite(output).all())


@contextmanager
def _side_stream(cuda: Any) -> Iterator[None]:
    """Work on a stream of its own, as a capture will; order is kept on both ends."""
    current, side = cuda.current_stream(), cuda.Stream()
    side.wait_stream(current)
    try:
        with cuda.stream(side):
            yield
    finally:
        current.wait_stream(side)


@contextmanager
def _stream_restored(cuda: Any) -> Iterator[None]:
    """Go back to the present stream: a capture that fails at its end does not."""
    before = cuda.current_stream()
    try:
        yield
    finally:
        cuda.set_stream(before)


@contextmanager
def _waits_are_errors(cuda: Any) -> Iterator[None]:
    before = cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls the mode a prototype
        cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            cuda.set_sync_debug_mode(before)


def _first_line(error: RuntimeError) -> str:
    return f"{error}".strip().partition("\n")[0]
