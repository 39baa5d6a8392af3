"""Decoding with a cache: what a step returns, what it costs, and what it leaves alone."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from models.heads import CausalLM
from models.reformer import Reformer, ReformerConfig
from models.transformer import ModelConfig, Transformer

SIZES: dict[str, Any] = {
    "vocab": 11,
    "d_model": 16,
    "heads": 2,
    "d_ff": 24,
    "layers": 3,
    "max_len": 64,
    "init_std": 0.2,
    "position_std": 0.5,
}
LOCAL, LSH = {"chunk": 4}, {"chunk": 4, "hashes": 2}
STRICT = {**LSH, "strict": True, "buckets": 4}
OPTIONS = {"full": {}, "local": LOCAL, "lsh": STRICT}
PROMPT = torch.randint(0, 11, (3, 13), generator=torch.Generator().manual_seed(0))
MORE = torch.randint(0, 11, (3, 9), generator=torch.Generator().manual_seed(1))
MASKS = {
    "none": None,
    "left": torch.arange(13) >= torch.tensor([[0], [5], [12]]),
    "right": torch.arange(13) < torch.tensor([[13], [8], [1]]),
    "middle": torch.arange(13) % torch.tensor([[20], [3], [2]]) < torch.tensor([[20], [2], [1]]),
}


def reformer(attention: list[str], **values: Any) -> CausalLM:
    torch.manual_seed(0)
    options = {kind: OPTIONS[kind] for kind in set(attention)}
    config = ReformerConfig(
        **{**SIZES, "attention": attention, "attention_options": options, **values}
    )
    return CausalLM(Reformer(config)).double().eval()


def transformer(attention: str, **values: Any) -> CausalLM:
    torch.manual_seed(0)
    config = ModelConfig(
        **{**SIZES, "attention": attention, "attention_options": OPTIONS[attention], **values}
    )
    return CausalLM(Transformer(config)).double().eval()


def extended(mask: Tensor | None, steps: int) -> Tensor | None:
    return None if mask is None else torch.cat([mask, mask.new_ones(len(mask), steps)], dim=1)


@torch.no_grad()
def decoded(model: CausalLM, prompt: Tensor, more: Tensor, mask: Tensor | None) -> Tensor:
    """Return the logits after the prompt and after each further token: `[b, n + 1, v]`."""
    logits, cache = model.begin(prompt, mask)
    rows = [logits]
    for place in range(more.shape[1]):
        logits, cache = model.step(more[:, place], cache)
        rows.append(logits)
    return torch.stack(rows, dim=1)


@torch.no_grad()
def recomputed(model: CausalLM, prompt: Tensor, more: Tensor, mask: Tensor | None) -> Tensor:
    """Return the same from one forward over everything."""
    logits = model(torch.cat([prompt, more], dim=1), extended(mask, more.shape[1]))
    after = logits[:, prompt.shape[1] :]
    if mask is None:
        last = torch.full((len(prompt),), prompt.shape[1] - 1)
    else:
        last = (mask * torch.arange(prompt.shape[1])).amax(dim=1)
    return torch.cat([logits[torch.arange(len(prompt)), last].unsqueeze(1), after], dim=1)


def worst(found: Tensor, expected: Tensor) -> float:
    assert expected.std() > 0.1  # there is something to compare
    return float((found - expected).abs().max())


@pytest.mark.parametrize(
    ("positions", "padding"),
    [*itertools.product(["axial", "rotary"], MASKS), ("learned", "left"), ("sinusoidal", "left")],
)
@pytest.mark.parametrize(
    "attention", [["full"], ["local"], ["lsh"], ["local", "lsh", "full"]], ids="-".join
)
def test_steps_are_the_rows_of_the_forward(
    attention: list[str], positions: str, padding: str
) -> None:
    """LSH in its strict mode; the default mode stands below."""
    mask = MASKS[padding]
    model = reformer(attention, positions=positions)
    expected = recomputed(model, PROMPT, MORE, mask)
    assert worst(decoded(model, PROMPT, MORE, mask), expected) < 1e-12


@pytest.mark.parametrize("combine", ["mean", "concatenate"])
def test_both_streams_of_a_reversible_stack_reach_the_output(combine: str) -> None:
    model = reformer(["local", "full"], combine=combine, ff_section=4, head_bias=True)
    expected = recomputed(model, PROMPT, MORE, None)
    assert worst(decoded(model, PROMPT, MORE, None), expected) < 1e-12


@pytest.mark.parametrize("padding", ["none", "left"])
@pytest.mark.parametrize("attention", ["full", "local", "lsh"])
def test_a_transformer_decodes_as_well(attention: str, padding: str) -> None:
    model, mask = transformer(attention), MASKS[padding]
    expected = recomputed(model, PROMPT, MORE, mask)
    assert worst(decoded(model, PROMPT, MORE, mask), expected) < 1e-12


@pytest.mark.parametrize("padding", ["none", "left"])
@pytest.mark.parametrize("count_once", [False, True])
@pytest.mark.parametrize("same_bucket", [False, True])
@pytest.mark.parametrize("attention", [["lsh"], ["local", "lsh"]], ids="-".join)
def test_a_step_is_the_last_row_of_the_forward_up_to_it_in_default_lsh(
    attention: list[str], same_bucket: bool, count_once: bool, padding: str
) -> None:
    """What is new meets what the forward would let it meet, in the same buckets.

    In chunked LSH a later token moves the chunks of the earlier, so their outputs in a longer
    forward are others. A cache keeps them as they were: steps and forward agree where LSH is the
    last layer that attends, whatever is below.
    """
    mask = MASKS[padding]
    options = {**LSH, "same_bucket": same_bucket, "count_once": count_once}
    kinds = {"lsh": options, "local": LOCAL}
    model = reformer(
        attention,
        layers=len(attention),
        attention_options={kind: kinds[kind] for kind in attention},
    )
    found = decoded(model, PROMPT, MORE, mask)
    for steps in range(MORE.shape[1] + 1):
        expected = recomputed(model, PROMPT, MORE[:, :steps], mask)[:, -1]
        assert worst(found[:, steps], expected) < 1e-12


@pytest.mark.parametrize("attention", [["full"], ["local"], ["lsh"]], ids="-".join)
def test_left_padding_is_kept_while_tokens_are_added(attention: list[str]) -> None:
    """Hugging Face's generate drops the attention mask: a padded prompt reads its padding."""
    model, mask = reformer(attention), MASKS["left"]
    assert mask is not None
    found = decoded(model, PROMPT, MORE, mask)
    for row in range(3):
        alone = PROMPT[row, mask[row]].unsqueeze(0)
        expected = decoded(model, alone, MORE[row : row + 1], None)
        assert worst(found[row : row + 1], expected) < 1e-12
    without = decoded(model, PROMPT, MORE, None)
    assert worst(found[1:], without[1:]) > 1e-3


@pytest.mark.parametrize("attention", [["full"], ["local"], ["lsh"]], ids="-".join)
def test_every_row_reads_its_own_cache(attention: list[str]) -> None:
    """Since 4.30 Hugging Face's batch offset is always 0: rows from 1 on read row 0's states."""
    model = reformer(attention)
    found = decoded(model, PROMPT, MORE, None)
    for row in range(3):
        expected = decoded(model, PROMPT[row : row + 1], MORE[row : row + 1], None)
        assert worst(found[row : row + 1], expected) < 1e-12


@pytest.mark.parametrize("prompt", [1, 2, 4, 5])
@pytest.mark.parametrize("attention", [["local"], ["lsh"], ["local", "lsh"]], ids="-".join)
def test_a_short_prompt_grows_past_the_chunk(attention: list[str], prompt: int) -> None:
    """Hugging Face raises a TypeError there while `num_buckets` is not yet known."""
    model = reformer(attention)
    expected = recomputed(model, PROMPT[:, :prompt], MORE, None)
    assert worst(decoded(model, PROMPT[:, :prompt], MORE, None), expected) < 1e-12


@pytest.mark.parametrize("attention", [["full"], ["local"], ["lsh"]], ids="-".join)
def test_positions_count_tokens_whatever_the_length_and_the_padding(attention: list[str]) -> None:
    """Explicit position ids and a length that must be filled up raise in Hugging Face's."""
    model, mask = reformer(attention), MASKS["left"]
    assert mask is not None
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        explicit = model.body(PROMPT, mask=mask, positions=places)
        counted = model.body(PROMPT, mask=mask)
    assert torch.equal(explicit, counted)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_decodes_what_it_computes_at_once(dtype: torch.dtype) -> None:
    model = reformer(["local", "full"]).to(dtype)
    found, expected = (f(model, PROMPT, MORE, None) for f in (decoded, recomputed))
    assert found.dtype == dtype
    limit = 1e-5 if dtype == torch.float32 else 0.1
    assert worst(found, expected) < limit


def test_padding_of_any_kind_gives_the_logits_of_the_last_token() -> None:
    model = reformer(["full"])
    for name, mask in itertools.islice(MASKS.items(), 1, None):
        assert mask is not None, name
        with torch.no_grad():
            logits, _ = model.begin(PROMPT, mask)
            for row in range(3):
                alone = model(PROMPT[row, mask[row]].unsqueeze(0))[0, -1]
                assert (logits[row] - alone).abs().max() < 1e-12
