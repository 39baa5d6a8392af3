"""Chunked attention with compiled bodies: exact, compiled once, honest where it cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.kernels import compiled_bodies
from models.unsupported import Unsupported
from models.variants.local import LocalAttention, LocalOptions
from models.variants.lsh import LSHAttention, LSHOptions

PROGRAM = Path(__file__).with_name("compiled_program.py")


def test_compiled_bodies_are_exact_repeat_and_are_compiled_once_for_all_lengths() -> None:
    reason = compiled_bodies.missing()
    if reason is not None:
        pytest.skip(f"compiled: {reason}")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert max(found["errors"].values()) <= 1e-6, found
    assert found["repeats"]
    assert found["graphs"] <= 4, found  # forward and backward of two mechanisms


def test_without_a_compiler_the_impl_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unsupported, match=r"compiled: needs .* there is no 'no-such-compiler'"):
        LSHAttention(LSHOptions(), causal=True, impl="compiled", head_dim=8)
    with pytest.raises(Unsupported, match="compiled: needs"):
        LocalAttention(LocalOptions(), causal=True, impl="compiled", head_dim=8)
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", "")
    compiled_bodies._missing.cache_clear()
    assert "g++ or clang++" in str(compiled_bodies.missing())
    compiled_bodies._missing.cache_clear()


def test_what_is_not_on_a_cpu_is_refused() -> None:
    assert compiled_bodies.refuse("cpu") is None
    local = LocalAttention(LocalOptions(), causal=True, impl="compiled", head_dim=8)
    x = torch.empty(1, 1, 8, 8, device="meta")
    with pytest.raises(Unsupported, match="device is 'meta'; allowed: 'cpu'"):
        local(x, x, x)
