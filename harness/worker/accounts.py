"""A step's allocated bytes, booked: inputs, parameters, gradients, state, activations, workspace.

Every block of torch's allocator is booked in one account for its whole life:

* `parameters`: weights and buffers of the network; `inputs`: tokens and targets;
* `optimizer_state`: what the optimizer keeps between steps;
* `gradients`: what becomes the `.grad` of a parameter;
* `activations`: what autograd saves for the backward, which also holds what is saved inside a
  recomputation;
* `workspace`: everything else that is allocated within a step: results that nobody saves,
  gradients of activations, temporaries of the optimizer;
* `unexplained`: what was allocated before the step and is none of the above.

A block that is several of these is booked under the first of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.worker.allocator import Change, Mark, Tape, recorded
from harness.worker.parts import PARTS, followed
from harness.worker.workload import Workload

ACCOUNTS = ("parameters", "inputs", "optimizer_state", "gradients", "activations", "workspace")
UNEXPLAINED = "unexplained"
MAX_POINTS = 5000
_RANKS: tuple[str, ...] = (*ACCOUNTS, UNEXPLAINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was allocated at one moment."""

    at_ns: int  # since the steps began
    accounts: Mapping[str, int]  # bytes of every account
    part: str  # of the step: forward, loss, backward or optimizer
    reserved: int = 0  # bytes that the allocator held of the device; 0 on a CPU

    @property
    def total(self) -> int:
        """Bytes allocated."""
        return sum(self.accounts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Where the bytes were while the steps ran."""

    baseline: Point  # parameters and inputs are there, nothing has run
    peak: Point  # the first moment at which most was allocated
    points: tuple[Point, ...]  # every change

    def above(self, budget: int) -> tuple[int, str] | None:
        """Return the first request that a budget could not grant, and its part of the step."""
        before = self.baseline.total
        for point in self.points:
            if point.total > budget:
                return point.total - before, point.part
            before = point.total
        return None


@dataclass(slots=True)
class _Block:
    account: str


def keep(build: Callable[[], Workload], steps: int, device: str) -> Books:
    """Build a workload, take steps, and return where the allocator's bytes were.

    It slows the steps down: never time them in this pass.

    Args:
        build: makes the workload; what it allocates and frees meanwhile is not counted.
        steps: how many; a training step has its optimizer's state from the second on.
        device: `cpu` or `cuda`, whose allocator is listened to.
    """
    with recorded(device) as tape:
        work = build()
        tape.mark("parameters", [*work.model.parameters(), *work.model.buffers()])
        tape.mark("inputs", [work.tokens, work.targets])
        with _watched(work.model, tape), followed(work.model, tape.mark):
            for _ in range(steps):
                work.step()
    return book(tape)


def book(tape: Tape) -> Books:
    """Return the books of a tape; they begin with the first mark of a part of a step."""
    blocks = _blocks(tape)
    totals = dict.fromkeys(_RANKS, 0)
    points: list[Point] = []
    begin, part, reserved = 0, "", 0
    for event, block in zip(tape.events, blocks, strict=True):
        if isinstance(event, Change):
            reserved = event.reserved
            if block is not None:
                totals[block.account] += event.size
        elif event.name in PARTS:
            begin, part = begin or event.at_ns, event.name
        else:
            continue
        if part:
            at = event.at_ns - begin
            points.append(Point(at_ns=at, accounts=dict(totals), part=part, reserved=reserved))
    return Books(
        baseline=points[0],
        peak=max(points, key=lambda point: point.total),
        points=tuple(points),
    )


def timeline(books: Books, points: int = MAX_POINTS) -> dict[str, Any]:
    """Return allocated bytes by account over time, of JSON's types.

    Of each stretch of changes the moment with most bytes is kept, so no peak is lost.
    """
    stride = -(-len(books.points) // points)
    kept = [
        max(books.points[i : i + stride], key=lambda point: point.total)
        for i in range(0, len(books.points), stride)
    ]
    return {
        "columns": ["at_ns", *(f"{name}_bytes" for name in _RANKS), "part"],
        "changes": len(books.points),
        "points": [[point.at_ns, *point.accounts.values(), point.part] for point in kept],
    }


def _blocks(tape: Tape) -> list[_Block | None]:
    """Return the block of each event; None for marks of a moment and blocks of before the tape."""
    live: dict[int, _Block] = {}
    found: list[_Block | None] = []
    stepping = False
    for event in tape.events:
        if isinstance(event, Mark):
            stepping = stepping or event.name in PARTS
            block = live.get(event.pointer)
            if block is not None:
                block.account = min(block.account, event.name, key=_RANKS.index)
        elif event.size > 0:
            # What a step allocates is its workspace until somebody claims it.
            block = live[event.pointer] = _Block("workspace" if stepping else UNEXPLAINED)
        else:
            block = live.pop(event.pointer, None)
        found.append(block)
    return found


@contextmanager
def _watched(model: nn.Module, tape: Tape) -> Iterator[None]:
    """Mark gradients, optimizer state and saved tensors as they come into being."""

    def save(tensor: Tensor) -> Tensor:
        tape.mark("activations", [tensor])
        return tensor

    def accumulated(parameter: Tensor) -> None:
        if parameter.grad is not None:
            tape.mark("gradients", [parameter.grad])

    def stepped(optimizer: Optimizer, *_: Any) -> None:
        kept = (value for state in optimizer.state.values() for value in state.values())
        tape.mark("optimizer_state", [value for value in kept if isinstance(value, Tensor)])

    trained = [p for p in model.parameters() if p.requires_grad]
    hooks = [p.register_post_accumulate_grad_hook(accumulated) for p in trained]
    hooks.append(register_optimizer_step_post_hook(stepped))
    try:
        with saved_tensors_hooks(save, lambda tensor: tensor):
            yield
    finally:
        for hook in hooks:
            hook.remove()
