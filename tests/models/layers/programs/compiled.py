"""Print how far gradients move when the sublayers of a Reformer, or the whole, are compiled.

A program of its own, since the compiler does not trace functions whose types are checked.
"""

import json
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from models.reformer import Reformer, ReformerConfig

TOKENS = torch.randint(0, 11, (2, 37), generator=torch.Generator().manual_seed(0))


def build(reversible: bool) -> Reformer:
    torch.manual_seed(0)
    config = ReformerConfig(
        vocab=11,
        d_model=16,
        heads=2,
        d_ff=24,
        layers=1,
        max_len=40,
        attention="lsh",
        attention_options={"lsh": {"hashes": 2, "chunk": 8}},
        ff_section=16,
        reversible=reversible,
    )
    return Reformer(config).double()


def gradients(
    model: Callable[[Tensor], Tensor], parameters: list[torch.nn.Parameter]
) -> list[Tensor]:
    loss = model(TOKENS).logsumexp(-1).square().sum()
    return list(torch.autograd.grad(loss, parameters))


def error(found: list[Tensor], expected: list[Tensor]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def main() -> None:
    plain = build(reversible=False)
    expected = gradients(plain, list(plain.parameters()))
    errors: dict[str, float] = {}
    parts = build(reversible=True)
    parts.stack.compile(backend="aot_eager")
    errors["sublayers"] = error(gradients(parts, list(parts.parameters())), expected)
    torch.compiler.reset()
    whole = build(reversible=True)
    compiled = torch.compile(whole, backend="eager")
    errors["whole"] = error(gradients(compiled, list(whole.parameters())), expected)
    json.dump(errors, sys.stdout)


if __name__ == "__main__":
    main()
