"""The Triton kernels without a device: interpreted, and compiled ahead of time for sm_90."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.kernels import lsh_dispatch
from models.unsupported import Unsupported
from models.variants.lsh import LSHAttention, LSHOptions

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]

pytest.importorskip("triton", reason="the kernels need the package triton, of the extra dev")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the root with one thread."""
    places = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_laws_of_the_kernels_hold_in_the_interpreter() -> None:
    laws = str(HERE / "triton_laws")
    options = ["-q", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
    # Triton must see the variable when it is first imported; here torch may have imported it.
    done = run("-m", "pytest", *options, laws, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= 40


def test_kernels_for_hopper_spill_nothing_and_multiply_by_warp_groups(tmp_path: Path) -> None:
    # All shipped configurations: .ci/kernels
    script = str(HERE / "ahead_of_time.py")
    done = run(script, "--some", TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")
    compiled = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert {one["spilled_bytes"] for one in compiled} == {0}
    attention = [one for one in compiled if re.search("_(fwd|bwd)_kernel$", one["kernel"])]
    assert len(attention) >= 5
    assert all(one["wgmma"] and not one["mma"] for one in attention)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_device_the_impl_says_what_it_needs() -> None:
    assert not lsh_dispatch.runs_here("triton")
    with pytest.raises(Unsupported, match="triton: needs a CUDA device"):
        LSHAttention(LSHOptions(), causal=True, impl="triton", head_dim=64)
