from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from harness.worker.graph import capture


class Cuda:
    """Streams and graphs that run on the CPU; a replay writes the output unless it is idle."""

    OUTPUT = torch.zeros(2)

    def __init__(self, *, ends_badly: bool = False, idle: bool = False) -> None:
        self.log, self.mode, self.stream_now = [], "default", "main"
        self.ends_badly, self.idle, self.capturing = ends_badly, idle, False

    def Stream(self):  # noqa: N802 - torch's name
        return SimpleNamespace(name="side", wait_stream=lambda _: self.log.append("side waits"))

    def current_stream(self):
        wait = SimpleNamespace(wait_stream=lambda _: self.log.append("main waits"))
        wait.name = self.stream_now
        return wait

    def set_stream(self, stream):
        self.stream_now = stream.name

    @contextmanager
    def stream(self, stream):
        before, self.stream_now = self.stream_now, stream.name
        try:
            yield
        finally:
            self.stream_now = before

    def get_sync_debug_mode(self):
        return self.mode

    def set_sync_debug_mode(self, mode):
        self.mode = mode

    def synchronize(self):
        self.log.append("synchronize")

    def CUDAGraph(self):  # noqa: N802 - torch's name
        return SimpleNamespace(replay=self.replay, reset=lambda: self.log.append("reset"))

    @contextmanager
    def graph(self, _graph):
        self.stream_now, self.capturing = "capture", True
        try:
            yield
        finally:
            self.capturing = False
            if self.ends_badly:  # as torch does: the stream is not given back
                raise RuntimeError("capture invalidated\nmore")
        self.stream_now = "main"

    def replay(self):
        if not self.idle:
            self.OUTPUT.zero_()

    def step(self):
        self.log.append((self.stream_now, self.mode, self.capturing))
        return self.OUTPUT


def test_a_captured_step_replays_and_gives_its_memory_back() -> None:
    cuda = Cuda()
    graph = capture(cuda.step, cuda)
    assert graph.reason is None
    assert graph.replay is not None
    graph.release()
    assert cuda.log[-1] == "reset"


def test_the_step_is_first_tried_where_every_wait_is_an_error() -> None:
    cuda = Cuda()
    capture(cuda.step, cuda)
    assert cuda.log[:3] == ["side waits", ("side", "error", False), "main waits"]
    assert cuda.log[3] == ("capture", "default", True)


def test_a_step_that_waits_for_the_device_is_never_captured() -> None:
    cuda = Cuda()

    def step():
        cuda.step()
        raise RuntimeError("called a synchronizing CUDA operation\ndetails")

    graph = capture(step, cuda)
    assert graph.reason == "the step needs the host: called a synchronizing CUDA operation"
    assert (cuda.mode, cuda.stream_now) == ("default", "main")
    assert cuda.log[-1] == "main waits"


def test_a_capture_without_room_says_so() -> None:
    cuda = Cuda()

    def step():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert capture(step, cuda).reason == "no memory for a capture: CUDA out of memory."


def test_a_capture_that_fails_at_its_end_leaves_the_stream_as_it_was() -> None:
    cuda = Cuda(ends_badly=True)
    graph = capture(cuda.step, cuda)
    assert graph.reason == "the capture failed: capture invalidated"
    assert graph.replay is None
    assert cuda.stream_now == "main"


def test_a_replay_that_leaves_its_output_alone_is_no_graph_of_the_step() -> None:
    cuda = Cuda(idle=True)
    graph = capture(cuda.step, cuda)
    assert graph.replay is None
    assert "did not write" in str(graph.reason)
    assert cuda.log[-1] == "reset"


def test_another_fault_of_the_step_is_not_swallowed() -> None:
    def step():
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        capture(step, Cuda())


def test_without_graphs_in_torch_the_reason_says_so() -> None:
    assert capture(lambda: None, SimpleNamespace()).reason == "this torch has no CUDA graphs"
