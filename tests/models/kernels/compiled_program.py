"""Print how far compiled attention is from the float64 reference, and how often it was compiled.

A program of its own, since the compiler does not trace functions whose types are checked.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from models.variant import VARIANTS, Attention


def build(name: str, impl: str, **options: Any) -> Attention:
    variant = VARIANTS.load(name)
    return variant.module(variant.options(**options), causal=True, impl=impl, head_dim=16)


def results(attention: Attention, tensors: list[Tensor]) -> list[Tensor]:
    q, v = (x.detach().requires_grad_() for x in tensors[:2])
    out = attention(q, q, v)
    return [out.detach(), *torch.autograd.grad(out, (q, v), tensors[2])]


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    errors: dict[str, float] = {}
    repeats = True
    for name, options in (("lsh", {"hashes": 2, "chunk": 16}), ("local", {"chunk": 16})):
        compiled = build(name, "compiled", **options)
        for length in (130, 600, 5000):  # blocks of several sizes, one kind
            tensors = [*torch.randn(3, 1, 2, length, 16, generator=generator)]
            found = results(compiled, tensors)
            if length == 130:
                again = results(compiled, tensors)
                repeats &= all(torch.equal(x, y) for x, y in zip(found, again, strict=True))
            exact = results(build(name, "reference", **options), [x.double() for x in tensors])
            pairs = zip(found, exact, strict=True)
            errors[f"{name} {length}"] = max(
                float((x.double() - y).norm() / y.norm()) for x, y in pairs
            )
    graphs = counters["stats"]["unique_graphs"]
    json.dump({"errors": errors, "graphs": graphs, "repeats": repeats}, sys.stdout)


if __name__ == "__main__":
    main()
