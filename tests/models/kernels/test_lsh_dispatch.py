"""Who computes LSH attention: what is asked for, or an answer why not."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.kernels import lsh_dispatch
from models.kernels.lsh_dispatch import Call, choose, find, require
from models.kernels.lsh_options import LSHOptions
from models.unsupported import Unsupported
from models.variant import VARIANTS, Shape
from models.variants.lsh import LSHAttention

CALL = Call(
    device="cpu",
    dtype=torch.float32,
    sequences=2,
    seq_len=10,
    head_dim=8,
    causal=True,
    masked=False,
    dropout=0.0,
    gradients=False,
)


def impl(missing: str | None, refused: str | None) -> Any:
    return SimpleNamespace(
        missing=lambda: missing, refuse=lambda call, options: refused, attend=lambda *_: None
    )


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A shelf of impls for the device "cpu", of which the first two cannot."""
    impls = {
        "absent": impl("no compiler", None),
        "narrow": impl(None, "t is 10"),
        "any": impl(None, None),
    }
    monkeypatch.setattr(lsh_dispatch, "MODULES", {name: name for name in impls})
    monkeypatch.setattr(lsh_dispatch, "PREFERRED", {"cpu": tuple(impls)})
    monkeypatch.setattr(lsh_dispatch.importlib, "import_module", impls.__getitem__)
    return impls


def test_auto_takes_the_first_that_runs_here_and_takes_the_call(shelf: dict[str, Any]) -> None:
    assert choose(CALL, LSHOptions()) == "any"
    shelf["narrow"].refuse = lambda call, options: None
    assert choose(CALL, LSHOptions()) == "narrow"
    shelf["absent"].missing = lambda: None
    assert choose(CALL, LSHOptions()) == "absent"


def test_a_named_impl_never_falls_back_and_says_why(shelf: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="absent: no compiler"):
        find("absent")
    with pytest.raises(Unsupported, match="narrow: t is 10"):
        require("narrow", CALL, LSHOptions())
    assert require("any", CALL, LSHOptions()) is shelf["any"]


def test_every_impl_of_the_variant_but_the_reference_is_on_the_shelf() -> None:
    assert {*VARIANTS.load("lsh").impls} == {"reference", *lsh_dispatch.MODULES}


def test_auto_tells_what_it_chose_before_and_after_a_call() -> None:
    variant = VARIANTS.load("lsh")
    assert variant.choose is not None
    shape = Shape(batch=1, heads=2, seq_len=10, head_dim=8, causal=True)
    before = variant.choose(LSHOptions(), shape, device="cpu", dtype=torch.float32, training=True)
    attention = LSHAttention(LSHOptions(), causal=True, impl="auto", head_dim=8)
    assert attention.ran is None
    attention(*torch.randn(3, 1, 2, 10, 8))
    assert attention.ran == before
