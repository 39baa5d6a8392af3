"""The Reformer: the same function with and without its memory savings, cost, refusals."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models import transformer
from models.kernels.lsh_plan import LSHPlan
from models.model import Size
from models.reformer import MODEL, Reformer, ReformerConfig, ReformerOptions
from models.variant import VARIANTS, Attention, Variant
from models.variants.lsh import LSHAttention, LSHOptions

SIZE = Size(vocab=11, d_model=16, heads=2, d_ff=24, layers=2, max_len=70, causal=True)
SMALL = LSHOptions(hashes=3, chunk=8)


def config(**values: Any) -> ReformerConfig:
    sizes = {"vocab": 11, "d_model": 16, "heads": 2, "d_ff": 24, "layers": 3, "max_len": 70}
    return ReformerConfig(**{**sizes, "ff_section": 16, **values})


def tokens(length: int = 65) -> Tensor:
    return torch.randint(0, 11, (2, length), generator=torch.Generator().manual_seed(0))


def lsh() -> Variant:
    return VARIANTS.load("lsh")


def gradients(**values: Any) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    model = Reformer(config(**values)).double()
    torch.manual_seed(1)
    loss = model(tokens()).logsumexp(-1).square().sum()
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("combine", ["mean", "concatenate"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("attention", [["lsh"], ["local", "lsh"], ["full"]])
def test_saving_memory_changes_no_gradient(
    attention: list[str], causal: bool, combine: str
) -> None:
    options = {"lsh": {"hashes": 3, "chunk": 8}} if "lsh" in attention else {}
    values = {
        "attention": attention,
        "attention_options": options,
        "causal": causal,
        "combine": combine,
        "dropout": 0.2,
    }
    saving, plain = gradients(**values), gradients(**values, reversible=False)
    for found, expected in zip(saving, plain, strict=True):
        assert (found - expected).norm() < 1e-9 * expected.norm()


def test_each_layer_hashes_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    plan = LSHAttention.plan

    def counted(self: LSHAttention, *arguments: Any) -> LSHPlan:
        calls.append(self.options.seed)
        return plan(self, *arguments)

    monkeypatch.setattr(LSHAttention, "plan", counted)
    Reformer(config())(tokens()).logsumexp(-1).sum().backward()
    assert calls == [0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [1, 7, 64, 65])
def test_any_length_trains_and_repeats_its_evaluation(length: int, dtype: torch.dtype) -> None:
    options = {"lsh": {"chunk": 8}}
    model = Reformer(config(attention_options=options, dropout=0.1)).to(dtype)
    logits = model(tokens(length))
    assert logits.shape == (2, length, 11)
    assert logits.dtype == dtype
    logits.float().logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(tokens(length)), model(tokens(length)))


def test_layer_kinds_are_repeated_over_the_layers() -> None:
    assert config(attention=["local", "lsh"]).kinds == ("local", "lsh", "local")
    assert config(attention="full").kinds == ("full", "full", "full")


def test_options_and_impls_are_given_by_kind() -> None:
    model = Reformer(
        config(
            attention=["local", "lsh"],
            attention_options={"lsh": {"hashes": 2}},
            impls={"local": "reference"},
        )
    )
    kinds = [module for module in model.modules() if isinstance(module, Attention)]
    assert isinstance(kinds[1], LSHAttention)
    assert kinds[1].options == LSHOptions(hashes=2, seed=1)  # the second layer's own seed
    assert type(kinds[0]) is type(kinds[2]) is VARIANTS.load("local").module


def test_parameters_differ_from_the_transformer_by_the_shared_projection_only() -> None:
    full = VARIANTS.load("full")
    dense = transformer.MODEL.build(
        SIZE, transformer.TransformerOptions(), full, full.options(), "sdpa"
    )
    ours = MODEL.build(SIZE, ReformerOptions(), lsh(), SMALL, "chunked")
    count = [sum(p.numel() for p in model.parameters()) for model in (dense, ours)]
    assert count[0] - count[1] == SIZE.layers * SIZE.d_model**2
    same = MODEL.build(SIZE, ReformerOptions(), full, full.options(), "sdpa")
    assert sum(p.numel() for p in same.parameters()) == count[0]


@pytest.mark.parametrize(
    "options",
    [
        ReformerOptions(),
        ReformerOptions(ff_section=16),
        ReformerOptions(combine="concatenate"),
        ReformerOptions(reversible=False),
        ReformerOptions(reversible=False, ff_section=16),
        ReformerOptions(layer_kinds=("local", "attention")),
        ReformerOptions(activation="swiglu", ff_section=16),
        ReformerOptions(activation="swiglu", ff_section=16, reversible=False),
    ],
)
def test_cost_is_what_the_counter_sees(options: ReformerOptions) -> None:
    model = MODEL.build(SIZE, options, lsh(), SMALL, "chunked")
    cost = MODEL.cost(SIZE, options, lsh(), SMALL, "chunked", 2, 65, 4)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(tokens())
    assert forward.get_total_flops() == cost.executed_flops
    with FlopCounterMode(display=False) as training:
        model(tokens()).sum().backward()
    assert training.get_total_flops() == cost.train_executed_flops


def test_the_problem_costs_what_the_transformer_pays_less_a_projection() -> None:
    full = VARIANTS.load("full")
    dense = transformer.MODEL.cost(
        SIZE, transformer.TransformerOptions(), full, full.options(), "sdpa", 2, 65, 4
    )
    ours = MODEL.cost(SIZE, ReformerOptions(), lsh(), SMALL, "chunked", 2, 65, 4)
    assert dense.model_flops - ours.model_flops == 2 * SIZE.layers * 2 * 65 * SIZE.d_model**2


def test_the_door_takes_a_variant_that_is_in_no_catalog_and_mixes_it_with_those_that_are() -> None:
    variant = replace(VARIANTS.load("full"), impls=("eager",))
    options = ReformerOptions(layer_kinds=("local", "attention"))
    model = MODEL.build(SIZE, options, variant, variant.options(), "eager")
    assert model(tokens()).shape == (2, 65, 11)
    assert MODEL.attention == "lsh"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heads": 3}, "heads: 3 do not divide d_model 16"),
        ({"attention": ["lsh", "lokal"]}, "unknown variant 'lokal'; did you mean 'local'"),
        ({"attention": []}, "no layer kinds"),
        ({"attention_options": {"lsh": {"buckets": 7}}}, "buckets: 7"),
        ({"attention_options": {"hashes": 4}}, "'hashes' has options and is no layer kind"),
        ({"impls": {"lsh": "chunky"}}, "did you mean 'chunked'"),
        ({"axial_shape": (8, 8)}, "holds 64 positions, max_len is 70"),
        ({"combine": "sum"}, "combine: 'sum'"),
        ({"ff_section": 0}, "ff_section: 0; at least 1"),
        ({"loss_section": 0}, "loss_section: 0; at least 1"),
        ({"axial_dims": (4, 4)}, r"axial dims \(4, 4\) add up to 8, d_model is 16"),
        ({"positions": "rotary", "head_dim": 7}, "head_dim: 7; rotary positions turn pairs"),
        ({"combine": "concatenate", "tie_weights": True}, "tie_weights: the output projection"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_sentence(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Reformer(config(**values))
