"""LSH attention by FlexAttention: on a CPU its values, without compiling; gradients on a device."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.kernels import lsh_flex
from models.kernels.lsh_dispatch import Call
from models.kernels.lsh_options import LSHOptions
from models.unsupported import Unsupported
from models.variants.lsh import LSHAttention

DIM = 16


def test_values_are_those_of_the_definition() -> None:
    root = Path(__file__).parents[3]
    places = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    values = str(Path(__file__).with_name("flex_values.py"))
    options = ["-q", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, values],
        cwd=root,
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "8 passed" in done.stdout


def test_block_lists_hold_every_block_in_which_a_pair_meets_and_no_other() -> None:
    for chunk, before, after in ((64, 1, 0), (64, 1, 1), (48, 2, 0), (128, 1, 0), (32, 0, 0)):
        options = LSHOptions(chunk=chunk, before=before, after=after)
        places = 6 * lsh_flex.BLOCK
        blocks = lsh_flex._blocks(places, options.window, "cpu")
        at = torch.arange(places) // chunk
        apart = at[None, :] - at[:, None]
        met = (apart >= -before) & (apart <= after)
        met = met.view(6, lsh_flex.BLOCK, 6, lsh_flex.BLOCK).any(dim=3).any(dim=1)
        assert torch.equal(blocks.to_dense()[0, 0].bool(), met), (chunk, before, after)
        assert torch.equal(blocks.kv_num_blocks[0, 0].long(), met.sum(dim=1))
        assert blocks.q_num_blocks is not None
        assert torch.equal(blocks.q_num_blocks[0, 0].long(), met.sum(dim=0))


CALL = Call(
    device="cuda",
    dtype=torch.bfloat16,
    sequences=2,
    seq_len=100,
    head_dim=64,
    causal=True,
    masked=False,
    dropout=0.0,
    gradients=True,
)


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"device": "cpu"}, LSHOptions(), "the device is cpu; allowed: cuda"),
        ({"dropout": 0.5}, LSHOptions(), "dropout is 0.5; FlexAttention has none"),
        ({}, LSHOptions(count_once=True), "count_once is not expressed"),
        ({"dtype": torch.float64}, LSHOptions(), "dtype is torch.float64; allowed: "),
        ({"head_dim": 80}, LSHOptions(), "head_dim is 80; allowed: powers of two from 16"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason(
    changes: dict[str, Any], options: LSHOptions, reason: str
) -> None:
    assert lsh_flex.refuse(CALL, LSHOptions()) is None
    told = lsh_flex.refuse(replace(CALL, **changes), options)
    assert told is not None
    assert told.startswith(reason)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_device_it_says_why_none_of_it_runs() -> None:
    with pytest.raises(Unsupported, match="flex: needs a CUDA device; on a CPU FlexAttention has"):
        LSHAttention(LSHOptions(), causal=True, impl="flex", head_dim=DIM)
