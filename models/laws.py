"""Laws that every attention mechanism keeps, whoever wrote it; small shapes, on the CPU.

A law is a function of a case. It returns when it holds, raises `Broken` with what was found, or
`Unsupported` where the mechanism says that it has no such form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.variant import Attention, Shape, Unsupported, Variant, attend

DIM, HEADS, LONGEST = 16, 2, 260
LENGTHS = (1, 2, 64, 65, 257)  # other laws have lengths between
HALF = 0.05  # what bfloat16 may lose


class Broken(Exception):  # noqa: N818 - a finding
    """A law does not hold; the message says what was found and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A mechanism in one form."""

    name: str
    variant: Variant
    impl: str
    causal: bool
    options: Any = None  # None: defaults

    def __str__(self) -> str:
        return f"{self.name}.{self.impl}, {'causal' if self.causal else 'bidirectional'}"

    @property
    def record(self) -> Any:
        """The options."""
        return self.variant.options() if self.options is None else self.options

    def build(self, impl: str | None = None, dtype: torch.dtype = torch.float32) -> Attention:
        """Make the mechanism in evaluation mode; the parameters are the same in every impl."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = self.variant.build(
                self.record,
                causal=self.causal,
                impl=impl or self.impl,
                head_dim=DIM,
                heads=HEADS,
                max_len=LONGEST,
            )
        return made.eval().to(dtype)

    def vectors(self, length: int, *, batch: int = 2) -> list[Tensor]:
        """Draw q, k and v."""
        narrow = self.build().kv_heads or HEADS
        generator = torch.Generator().manual_seed(length)
        return [
            torch.randn(batch, heads, length, DIM, generator=generator)
            for heads in (HEADS, narrow, narrow)
        ]

    def shape(self, length: int, *, batch: int = 2) -> Shape:
        """Return the problem that `vectors` pose."""
        return Shape(batch=batch, heads=HEADS, seq_len=length, head_dim=DIM, causal=self.causal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What must hold, as a sentence, and how it is tried."""

    sentence: str
    check: Callable[[Case], None] = field(repr=False)

    def __str__(self) -> str:
        return self.sentence


def forms(name: str, variant: Variant) -> Iterator[Case]:
    """Return the forms of a mechanism: impls and directions."""
    for causal in (True, False):
        if variant.causal if causal else variant.bidirectional:
            for impl in variant.impls:
                yield Case(name=name, variant=variant, impl=impl, causal=causal)


def cases(name: str, variant: Variant) -> Iterator[Case]:
    """Return the forms of a mechanism that can be built and run here.

    The forms that cannot are those of which `refusal` gives a reason.
    """
    return (case for case in forms(name, variant) if refusal(case) is None)


def refusal(case: Case) -> str | None:
    """Return why a form cannot run here; None: it can."""
    try:
        case.build()(*case.vectors(2))
    except Unsupported as reason:
        return str(reason)
    return None


def equals_the_float64_reference(case: Case) -> None:
    """Values, gradients of inputs and of parameters."""
    asked = case.build()
    for length in LENGTHS:
        found = _with_gradients(asked, case.vectors(length))
        wanted = _wanted(replace(case, impl="reference"), length)
        for (what, one), other in zip(found.items(), wanted.values(), strict=True):
            tolerance = 2e-5 * case.variant.tolerance
            close(one, other, f"{what}, {length} tokens", relative=tolerance, absolute=tolerance)


def stays_near_in_half_precision(case: Case) -> None:
    """bfloat16 in, bfloat16 out."""
    asked = case.build(dtype=torch.bfloat16)
    exact = case.build("reference", torch.bfloat16).double()
    tensors = [x.bfloat16() for x in case.vectors(130)]
    found = asked(*tensors)
    if found.dtype != torch.bfloat16:
        raise Broken(f"the output of bfloat16 vectors is {found.dtype}")
    wanted = exact(*(x.double() for x in tensors))
    close(found, wanted, "values, bfloat16", relative=HALF, absolute=HALF)


def takes_nothing_from_later_tokens(case: Case) -> None:
    """If causal; where vectors decide who meets whom, nothing from later values."""
    attention, t = case.build(), 70
    q, k, v = case.vectors(100)
    before = attention(q, k, v)
    if not (attention.shared_qk or attention.routed):
        q, k = _change_after(q, t), _change_after(k, t)
    changed = (before - attention(q, k, _change_after(v, t))).abs().amax(dim=(0, 1, 3))
    if not changed[t + 1 :].max() > 0:
        raise Broken(f"other tokens after {t} change no later output")
    if case.causal and changed[: t + 1].max() > 0:
        first = int(changed[: t + 1].nonzero()[0])
        raise Broken(f"other tokens after {t} change the output at {first}")
    if not case.causal and not changed[: t + 1].max() > 0:
        raise Broken("a bidirectional form takes nothing from later tokens")


def treats_each_row_of_a_batch_alone(case: Case) -> None:
    """Permuting the batch permutes the output."""
    attention, tensors = case.build(), case.vectors(100, batch=3)
    order = [2, 0, 1]
    found = attention(*(x[order] for x in tensors))
    close(found, attention(*tensors)[order], "permuted batch", relative=1.3e-6, absolute=1e-5)


def gives_rows_of_the_whole(case: Case) -> None:
    """`rows` are rows of `forward`."""
    attention = case.build(dtype=torch.float64)
    q, k, v = (x.double() for x in case.vectors(150))
    rows = torch.tensor([0, 149, 64, 63, 7])
    found = attention.rows(q, k, v, rows)
    close(found, attention(q, k, v)[:, :, rows], "rows", relative=1e-10, absolute=1e-10)


def repeats_and_leaves_random_state_alone(case: Case) -> None:
    """In evaluation."""
    attention, tensors = case.build(), case.vectors(130)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4321)  # not the state that an earlier call may have left
        state = torch.get_rng_state()
        first = attention(*tensors)
        if not torch.equal(torch.get_rng_state(), state):
            raise Broken("a call changes the global random state")
    if not torch.equal(attention(*tensors), first):
        raise Broken("a second call with the same vectors gives another output")


def ignores_the_default_device(case: Case) -> None:
    """Whatever it makes lies where its inputs lie."""
    attention, tensors = case.build(), case.vectors(100)
    with torch.device("meta"):
        found = attention(*tensors)
    if found.is_meta or not torch.equal(found, attention(*tensors)):
        raise Broken("the output depends on torch's default device")


def does_not_write_to_its_inputs(case: Case) -> None:
    """q, k and v stay as they were."""
    tensors = case.vectors(100)
    copies = [x.clone() for x in tensors]
    case.build()(*tensors)
    for name, x, copy in zip("qkv", tensors, copies, strict=True):
        if not torch.equal(x, copy):
            raise Broken(f"a call writes to {name}")


def executes_the_flops_of_its_cost(case: Case) -> None:
    """What `cost` says is what PyTorch's counter sees, forward, and forward with backward."""
    attention = case.build()
    for length in (1, 100, 257):
        cost = case.variant.cost(case.record, case.shape(length), case.impl)
        with FlopCounterMode(display=False) as forward:
            attention(*case.vectors(length))
        if forward.get_total_flops() == 0:
            raise Unsupported("PyTorch's counter sees no matrix product here: nothing to compare")
        with FlopCounterMode(display=False) as both:
            attention(*(x.requires_grad_() for x in case.vectors(length))).sum().backward()
        once = cost.forward_only_flops
        _equal(forward.get_total_flops(), cost.executed_flops, f"FLOPs at {length} tokens")
        trained = (
            3 * (cost.executed_flops - once) + once + cost.recomputed_flops - cost.constant_flops
        )
        _equal(both.get_total_flops(), trained, f"FLOPs with backward at {length} tokens")


def counts_the_pairs_of_the_problem(case: Case) -> None:
    """`model_flops` are those of exact attention, whatever the mechanism; sizes are positive."""
    for length in (1, 2, 65):
        shape = case.shape(length, batch=3)
        cost = case.variant.cost(case.record, shape, case.impl)
        _equal(cost.model_flops, 4 * shape.pairs * DIM * HEADS * 3, "model_flops")
        for name in ("compulsory_bytes", "state_bytes"):
            if getattr(cost, name) <= 0:
                raise Broken(f"{name} is {getattr(cost, name)} at {length} tokens")
        if case.variant.exact and cost.executed_flops < cost.model_flops:
            raise Broken("an exact mechanism executes fewer FLOPs than the problem has")


def never_attends_padding(case: Case) -> None:
    """Whatever padding holds; outputs are finite, and zero at padding."""
    attention, mask = case.build(), padded(70)
    tensors = case.vectors(70, batch=len(mask))
    shown = mask[:, None, :, None]
    changed = [torch.where(shown, x, -5 * x + 1) for x in tensors]
    one, other = (attend(attention, *x, mask=mask) for x in (tensors, changed))
    if not one.isfinite().all():
        raise Broken("some outputs of a padded batch are not finite")
    close(one * shown, other * shown, "other padding", relative=1e-5, absolute=1e-5)
    if one.masked_fill(shown, 0).any():
        raise Broken("outputs at padding are not zero")


def has_finite_gradients_with_padding(case: Case) -> None:
    """Also of rows that are padding from end to end."""
    mask = padded(70)
    leaves = [x.requires_grad_() for x in case.vectors(70, batch=len(mask))]
    out = attend(case.build(), *leaves, mask=mask)
    gradients = torch.autograd.grad(out.sum(), leaves, allow_unused=True, materialize_grads=True)
    for name, gradient in zip("qkv", gradients, strict=True):
        if not gradient.isfinite().all():
            raise Broken(f"the gradient of {name} is not finite")


def equals_the_reference_with_padding(case: Case) -> None:
    """In float64; and a mask that hides nothing changes nothing."""
    asked, exact = (case.build(impl, torch.float64) for impl in (case.impl, "reference"))
    mask = padded(130)
    tensors = [x.double() for x in case.vectors(130, batch=len(mask))]
    found, wanted = (attend(one, *tensors, mask=mask) for one in (asked, exact))
    close(found, wanted, "padded batch", relative=1e-10, absolute=1e-10)
    whole = attend(asked, *tensors, mask=torch.ones_like(mask))
    close(whole, asked(*tensors), "mask that hides nothing", relative=1e-12, absolute=1e-12)


def steps_as_the_whole(case: Case) -> None:
    """Decoding: a step gives the last row of `forward`. Causal forms only."""
    if not case.causal:
        return
    attention = case.build(dtype=torch.float64)
    for prompt, steps in ((1, 2), (62, 4)):  # the second goes on past one chunk
        tensors = [x.double() for x in case.vectors(prompt + steps)]
        state = attention.begin(*(x[:, :, :prompt] for x in tensors))
        for t in range(prompt, prompt + steps):
            q, k, v = (x[:, :, t : t + 1] for x in tensors)
            out, state = attention.step(q, k, v, state)
            wanted = attention(*(x[:, :, : t + 1] for x in tensors))[:, :, -1:]
            close(out, wanted, f"step {t}", relative=1e-10, absolute=1e-10)


LAWS: Sequence[Law] = tuple(
    Law(sentence=check.__name__.replace("_", " "), check=check)
    for check in (
        equals_the_float64_reference,
        stays_near_in_half_precision,
        takes_nothing_from_later_tokens,
        treats_each_row_of_a_batch_alone,
        gives_rows_of_the_whole,
        repeats_and_leaves_random_state_alone,
        ignores_the_default_device,
        does_not_write_to_its_inputs,
        executes_the_flops_of_its_cost,
        counts_the_pairs_of_the_problem,
        never_attends_padding,
        has_finite_gradients_with_padding,
        equals_the_reference_with_padding,
        steps_as_the_whole,
    )
)


def padded(length: int) -> Tensor:
    """Return a mask of rows padded left, right, in the middle, everywhere and nowhere."""
    mask = torch.ones(5, length, dtype=torch.bool)
    mask[0, : length // 3] = False
    mask[1, length // 2 :] = False
    mask[2, 1:5] = False
    mask[3] = False
    return mask


def close(found: Tensor, wanted: Tensor, what: str, *, relative: float, absolute: float) -> None:
    """See that tensors agree.

    Raises:
        Broken: a shape or a value does not.
    """
    try:
        torch.testing.assert_close(found.double(), wanted.double(), rtol=relative, atol=absolute)
    except AssertionError as error:
        told = " ".join(str(error).split())
        raise Broken(f"{what}: {told}") from None


def _equal(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise Broken(f"{what}: found {found}, expected {wanted}")


def _with_gradients(attention: Attention, tensors: list[Tensor]) -> dict[str, Tensor]:
    """Return the output and the gradients of a fixed random projection of it."""
    leaves = dict(zip("qkv", (x.detach().clone().requires_grad_() for x in tensors), strict=True))
    out = attention(*leaves.values())
    leaves |= {name: x for name, x in attention.named_parameters() if x.requires_grad}
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    found = torch.autograd.grad(
        (out * weights).sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    gradients = {f"gradient of {name}": x for name, x in zip(leaves, found, strict=True)}
    return {"values": out.detach(), **gradients}


@functools.lru_cache(maxsize=4 * len(LENGTHS))  # the impls of a mechanism follow each other
def _wanted(case: Case, length: int) -> dict[str, Tensor]:
    exact = case.build(dtype=torch.float64)
    return _with_gradients(exact, [x.double() for x in case.vectors(length)])


def _change_after(x: Tensor, t: int) -> Tensor:
    return torch.cat([x[:, :, : t + 1], x[:, :, t + 1 :] * -3 + 1], dim=2)
