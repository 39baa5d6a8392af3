"""Bytes of known size are in the account that they belong to, and the accounts add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from harness.worker import accounts, workload
from harness.worker.accounts import ACCOUNTS, UNEXPLAINED, Books, keep
from harness.worker.allocator import Change, Mark, Tape

KIB = 1 << 10
WIDTH = 64  # of the weights and of the input: 16 KiB each in float32
BLOCK = WIDTH * WIDTH * 4


class Product(nn.Module):
    """x W: autograd saves x for the gradient of W, and nothing else that is new."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH, WIDTH))
        self.register_buffer("offset", torch.zeros(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x.exp() @ self.weight  # exp is allocated, and saved by both


def trained(job, body: Callable[[nn.Module, Tensor], None], steps: int = 1) -> Books:
    def build():
        model, x = Product(), torch.ones(WIDTH, WIDTH)
        return replace(
            workload.build(job()),
            model=model,
            tokens=x,
            targets=x,
            step=lambda: body(model, x),
        )

    return keep(build, steps, "cpu")


def test_parameters_and_buffers_and_inputs_are_booked_before_anything_runs(job) -> None:
    books = trained(job, lambda model, x: None)
    assert books.baseline.accounts == {
        **dict.fromkeys((*ACCOUNTS, UNEXPLAINED), 0),
        "parameters": 2 * BLOCK,
        "inputs": BLOCK,
    }
    assert books.peak == books.baseline


def test_what_autograd_saves_is_an_activation(job) -> None:
    def body(model, x):
        output = model(x)
        assert output.requires_grad

    peak = trained(job, body).peak
    assert (peak.accounts["activations"], peak.accounts["workspace"]) == (BLOCK, BLOCK)


def test_what_nobody_saves_is_workspace(job) -> None:
    def body(model, x):
        with torch.no_grad():
            model(x)

    peak = trained(job, body).peak
    assert (peak.accounts["activations"], peak.accounts["workspace"]) == (0, 2 * BLOCK)


def test_what_becomes_the_gradient_of_a_parameter_is_a_gradient(job) -> None:
    books = trained(job, lambda model, x: model(x).sum().backward())
    assert max(point.accounts["gradients"] for point in books.points) == BLOCK
    assert books.points[-1].accounts["gradients"] == BLOCK  # it stays


def test_a_gradient_that_is_dropped_is_gone(job) -> None:
    def body(model, x):
        model(x).sum().backward()
        model.weight.grad = None

    points = trained(job, body, steps=2).points
    assert max(point.accounts["gradients"] for point in points) == BLOCK
    assert points[-1].accounts["gradients"] == 0


def test_what_the_optimizer_keeps_is_its_state_from_the_first_step_on(job) -> None:
    optimizers = {}

    def body(model, x):
        optimizer = optimizers.setdefault(id(model), torch.optim.Adam(model.parameters()))
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    books = trained(job, body, steps=2)
    moments = 2 * BLOCK + 4  # and the count of steps
    assert books.points[-1].accounts["optimizer_state"] == moments
    second = [p for p in books.points if p.part == "forward"][-1]
    assert second.accounts["optimizer_state"] == moments


def test_what_was_there_before_the_step_and_is_nobodys_is_unexplained(job) -> None:
    kept = []

    def build():
        kept.append(torch.ones(1 * KIB))
        return replace(workload.build(job()), step=lambda: None)

    assert keep(build, 1, "cpu").baseline.accounts[UNEXPLAINED] == 4 * KIB


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_the_accounts_of_a_real_step_add_up_to_the_allocators_own_peak(job, phase: str) -> None:
    """The allocator's events carry its own total: read without our hooks, it is the same."""
    of = job(phase=phase)
    steps = 2 if phase == "train_step" else 1
    books = keep(lambda: workload.build(of), steps, "cpu")
    assert books.peak.total == bare_peak(of, steps)
    assert books.peak.accounts[UNEXPLAINED] == 0
    assert books.peak.accounts["parameters"] == 4 * workload.build(of).parameters
    assert books.peak.accounts["inputs"] == 2 * 8 * of.cell.tokens


def bare_peak(of, steps: int) -> int:
    """Sum up what comes and goes, from the build on, with no hook but the profiler's."""
    with accounts.recorded("cpu") as tape:
        work = workload.build(of)
        tape.mark("begin")
        for _ in range(steps):
            work.step()
    total, most, stepping, live = 0, 0, False, set()
    for event in tape.events:
        if isinstance(event, Mark):
            stepping = True
            continue
        if event.size < 0 and event.pointer not in live:
            continue
        (live.add if event.size > 0 else live.discard)(event.pointer)
        total += event.size
        most = max(most, total) if stepping else 0
    return most


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_books_are_the_same_to_the_byte_every_time(job, phase: str) -> None:
    of = job(phase=phase)
    one, other = (keep(lambda: workload.build(of), 2, "cpu") for _ in range(2))
    assert one.peak.accounts == other.peak.accounts
    assert [p.accounts for p in one.points] == [p.accounts for p in other.points]


def tape(*events: tuple[str, int] | tuple[int, int]) -> Tape:
    """Events in order: (name, pointer) is a mark, (size, pointer) a change."""
    made: list[Change | Mark] = []
    for at, (what, pointer) in enumerate(events, start=1):
        if isinstance(what, str):
            made.append(Mark(at_ns=at, name=what, pointer=pointer))
        else:
            made.append(Change(at_ns=at, pointer=pointer, size=what, reserved=100 * at))
    return Tape(made)


def test_a_block_of_several_kinds_is_booked_once_under_the_first_of_the_list() -> None:
    marks = [("activations", 1), ("parameters", 1), ("gradients", 1)]
    books = accounts.book(tape((8, 1), *marks, ("forward", 0)))
    assert books.peak.accounts["parameters"] == books.peak.total == 8


def test_an_address_that_is_used_again_is_another_block() -> None:
    books = accounts.book(
        tape(("forward", 0), (8, 1), ("activations", 1), (-8, 1), (24, 1), ("gradients", 1))
    )
    assert [p.accounts["activations"] for p in books.points] == [0, 8, 0, 0]
    assert books.peak.accounts["gradients"] == 24


def test_blocks_of_before_the_tape_are_not_counted_when_they_go() -> None:
    books = accounts.book(tape((8, 1), ("forward", 0), (-4, 9), (2, 2)))
    assert [p.total for p in books.points] == [8, 8, 10]
    assert books.peak.reserved == 400


def test_the_first_request_above_a_budget_is_found_with_its_part() -> None:
    books = accounts.book(tape((8, 1), ("forward", 0), (4, 2), ("backward", 0), (6, 3), (9, 4)))
    assert books.above(12) == (6, "backward")
    assert books.above(26) == (9, "backward")
    assert books.above(27) is None


def test_a_timeline_keeps_every_peak_in_at_most_5000_points() -> None:
    events = [(8, 1), ("forward", 0)]
    for i in range(20_000):
        events += [(i % 977 + 1, 2), (-(i % 977 + 1), 2)]
    books = accounts.book(tape(*events))
    line = accounts.timeline(books)
    assert line["changes"] == 40_001
    assert 2500 <= len(line["points"]) <= accounts.MAX_POINTS
    columns = line["columns"]
    totals = [sum(p[columns.index(f"{name}_bytes")] for name in ACCOUNTS) for p in line["points"]]
    assert max(totals) + line["points"][0][columns.index("unexplained_bytes")] == books.peak.total
    assert line["points"] == sorted(line["points"])
