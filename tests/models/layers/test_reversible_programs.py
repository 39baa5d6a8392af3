"""A reversible stack in several processes, and with compiled sublayers."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

PROGRAMS = Path(__file__).parent / "programs"


def start(name: str, root: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / f"{name}.py"), *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_peers_mark_weights_ready_twice_in_data_parallel_training_and_ours_average_gradients(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Two processes with half of the batch each have the gradients of one with the whole."""
    running = [
        start("parallel", pytestconfig.rootpath, str(rank), "2", str(tmp_path)) for rank in (0, 1)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    parallel = program("parallel")
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert set(parallel.WRAPS) < found.keys()
        for name, gradients in found.items():
            alone = parallel.Network(unused=False)
            accumulate = name.endswith("accumulated")
            expected = parallel.gradients(alone, slice(None), accumulate=accumulate)
            assert len(gradients) >= len(expected) > 0
            for one, other in zip(gradients, expected, strict=False):
                assert (one - other).norm() <= 1e-9 * other.norm()


def test_compiled_sublayers_have_the_gradients_of_plain_autograd(
    pytestconfig: pytest.Config,
) -> None:
    process = start("compiled", pytestconfig.rootpath)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    found = json.loads(output)
    assert found.keys() == {"sublayers", "whole"}
    assert max(found.values()) < 1e-9, found
