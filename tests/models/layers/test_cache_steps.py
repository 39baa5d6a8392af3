"""What a decoding step costs, and that a cache is a value: it is kept, reordered, never used up."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.heads import CausalLM
from models.layers.attention_layer import find_mechanism
from models.reformer import Reformer, ReformerConfig
from models.variant import Unsupported
from models.variants.full import FullAttention
from models.variants.lsh import LSHAttention

OPTIONS: dict[str, Any] = {
    "full": {},
    "local": {"chunk": 4},
    "lsh": {"chunk": 4, "hashes": 2, "strict": True, "buckets": 4},
}
PROMPT = torch.randint(0, 11, (3, 13), generator=torch.Generator().manual_seed(0))
MORE = torch.randint(0, 11, (3, 9), generator=torch.Generator().manual_seed(1))
MASK = torch.arange(13) >= torch.tensor([[0], [5], [12]])
KINDS = ["full", "local", "lsh"]


def reformer(*attention: str, **values: Any) -> CausalLM:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab": 11,
        "d_model": 16,
        "heads": 2,
        "d_ff": 24,
        "layers": 3,
        "max_len": 64,
        "init_std": 0.2,
        **values,
    }
    options = {kind: OPTIONS[kind] for kind in attention}
    config = ReformerConfig(**sizes, attention=attention, attention_options=options)
    return CausalLM(Reformer(config)).double().eval()


def test_a_new_token_is_hashed_by_the_rotations_of_the_earlier_ones() -> None:
    """Hugging Face redraws them at each step: the same vector twice, the same bucket by chance."""
    attention = find_mechanism("lsh", {"chunk": 4, "hashes": 8}).build(causal=True, head_dim=8)
    assert isinstance(attention, LSHAttention)
    q = torch.randn(2, 3, 21, 8, generator=torch.Generator().manual_seed(0))
    state = attention.begin(q, q, q)
    for place in range(21):
        again = q[:, :, place : place + 1]
        rounds = attention.step(again, again, again, state)[1].rounds
        of_both = [
            rounds.bucket.gather(-1, (rounds.order == position).int().argmax(-1, keepdim=True))
            for position in (place, 21)
        ]
        assert torch.equal(*of_both)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_repeats_and_leaves_the_global_random_state_alone(kind: str) -> None:
    """A hash seed in Hugging Face's resets it at each layer, which breaks sampling."""
    model = reformer(kind)
    state = torch.get_rng_state()
    runs = [model.step(MORE[:, 0], model.begin(PROMPT)[1])[0] for _ in range(2)]
    assert torch.equal(*runs)
    assert torch.equal(state, torch.get_rng_state())


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_beams_take_their_cache_along(kind: str) -> None:
    """Hugging Face does not reorder it: issue 46612."""
    model, rows = reformer(kind), torch.tensor([2, 0, 0, 1])
    _, cache = model.begin(PROMPT, MASK)
    _, cache = model.step(MORE[:, 0], cache)
    cache = model.reorder(cache, rows)
    _, own = model.begin(PROMPT[rows], MASK[rows])
    _, own = model.step(MORE[rows, 0], own)
    for place in range(1, 8):
        found, cache = model.step(MORE[rows, place], cache)
        expected, own = model.step(MORE[rows, place], own)
        assert (found - expected).abs().max() < 1e-12
        assert (found[0] - found[1]).abs().max() > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_two_continuations_of_one_cache_do_not_disturb_each_other(kind: str) -> None:
    model = reformer(kind)
    _, cache = model.begin(PROMPT)
    one, longer = model.step(MORE[:, 0], cache)
    before, _ = model.step(MORE[:, 1], longer)
    other, _ = model.step((MORE[:, 0] + 1) % 11, cache)
    after, _ = model.step(MORE[:, 1], longer)
    again, _ = model.step(MORE[:, 0], cache)
    assert torch.equal(one, again)
    assert torch.equal(before, after)
    assert not torch.allclose(one, other)


@torch.no_grad()
def step_flops(model: CausalLM, prompts: list[int]) -> list[int]:
    """Return the FLOPs of one step after prompts of some lengths."""
    flops: list[int] = []
    for length in prompts:
        _, cache = model.begin(torch.zeros(1, length, dtype=torch.int64))
        with FlopCounterMode(display=False) as counter:
            model.step(torch.zeros(1, dtype=torch.int64), cache)
        flops.append(counter.get_total_flops())
    return flops


def weights(model: CausalLM) -> int:
    """Return the numbers in the matrices that a token is multiplied with."""
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    return sum(m.weight.numel() for m in linear)


def test_a_step_of_full_attention_adds_one_key_and_one_value() -> None:
    model = reformer("full", impls={"full": "eager"})
    flops = step_flops(model, [8, 16, 32])
    per_key = 3 * 2 * 2 * 16  # layers, key and value, multiply and add, d_model
    assert flops == [2 * weights(model) + (n + 1) * per_key for n in (8, 16, 32)]


@pytest.mark.parametrize("kind", ["local", "lsh"])
def test_a_step_of_local_and_strict_lsh_attention_costs_the_same_after_any_prompt(
    kind: str,
) -> None:
    model = reformer(kind)
    flops = step_flops(model, [9, 17, 33, 60])
    assert len(set(flops)) == 1
    assert flops[0] > 2 * weights(model)


@torch.no_grad()
def test_a_step_sends_one_token_through_every_sublayer_once() -> None:
    """As both streams of a reversible stack; what earlier tokens streamed is not needed."""
    model = reformer("local", "lsh", "full")
    assert isinstance(model.body, Reformer)
    seen: list[tuple[int, ...]] = []
    for part in model.body.stack.modules():
        if isinstance(part, torch.nn.LayerNorm):
            part.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    _, cache = model.begin(PROMPT)
    assert seen == [(3, 13, 16)] * 6
    seen.clear()
    model.step(MORE[:, 0], cache)
    assert seen == [(3, 1, 16)] * 6


def test_a_bidirectional_mechanism_says_that_it_cannot_be_decoded() -> None:
    model = reformer("full")
    for part in model.modules():
        if isinstance(part, FullAttention):
            part.causal = False
    with pytest.raises(Unsupported, match="bidirectional"):
        model.begin(PROMPT)


@torch.no_grad()
def test_the_last_position_is_used_and_the_one_after_it_refused() -> None:
    model = reformer("full", positions="learned", max_len=15)
    _, cache = model.begin(PROMPT, MASK)
    for place in range(2):
        _, cache = model.step(MORE[:, place], cache)
    with pytest.raises(ValueError, match="1 more tokens; the position encoding holds 0 more"):
        model.step(MORE[:, 2], cache)
    _, cache = reformer("full", positions="rotary", max_len=15).begin(PROMPT)
    assert cache.room is None
