from collections import Counter
from types import SimpleNamespace

import torch

from harness.worker.compiling import compiles


def test_what_was_never_imported_never_compiled() -> None:
    assert compiles({}) == 0


def test_only_the_compilers_own_counters_are_counted() -> None:
    counters = {
        "frames": Counter(ok=2),
        "inductor": Counter(fxgraph_cache_hit=1),
        "other": {"x": 9},
    }
    assert compiles({"torch._dynamo.utils": SimpleNamespace(counters=counters)}) == 3


def test_a_new_shape_is_seen_as_a_recompilation_and_a_known_one_is_not() -> None:
    torch.compiler.reset()
    doubled = torch.compile(lambda x: 2 * x, backend="eager", dynamic=False)
    seen = []
    for length in (3, 3, 4, 4):
        before = compiles()
        doubled(torch.ones(length))
        seen.append(compiles() > before)
    assert seen == [True, False, True, False]
