"""Laws of every variant in the catalog: a new file is tested on arrival."""

import pytest

from models.laws import LAWS, Case, Law, forms, refusal
from models.variant import VARIANTS, Unsupported

# Compiling takes seconds for each kind of block: see tests/models/kernels/test_compiled.py.
CASES = [
    case
    for name in VARIANTS.names()
    for case in forms(name, VARIANTS.load(name))
    if case.impl != "compiled" and refusal(case) is None
]
# Fused CPU kernels that PyTorch's counter has no formula for: it counts zero.
UNCOUNTED = {
    ("full", "sdpa"),
    ("full", "sdpa_flash"),
    ("grouped_query", "sdpa"),
}
# What mechanisms have no form of; everything else must hold.
UNSUPPORTED: set[tuple[str, str]] = {
    ("lsh_reformer_pytorch.package, causal", "stays near in half precision"),
}


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_law_holds(case: Case, law: Law) -> None:
    try:
        law.check(case)
    except Unsupported:
        uncounted = "flops of its cost" in str(law) and (case.name, case.impl) in UNCOUNTED
        assert uncounted or (str(case), str(law)) in UNSUPPORTED
