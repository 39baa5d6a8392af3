"""Compiles for sm_90, without a device, exactly what the wrappers of the Triton kernels launch.

    python tests/models/kernels/ahead_of_time.py          # every shipped configuration, minutes
    python tests/models/kernels/ahead_of_time.py --some   # a few of them, as JSON lines

Exit code 1: a kernel spills registers, or a matrix product is not wgmma.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from models.kernels import triton_attention, triton_plan
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan

TARGET, ARCHITECTURE = GPUTarget("cuda", 90, 32), "sm_90a"
HEADS, LENGTH = 2, 512  # a multiple of 16, as lengths of benchmarks are
MULTIPLIES = re.compile("attention_(fwd|bwd)_kernel$")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call whose kernels are compiled."""

    chunk: int
    dim: int
    dtype: str = "bfloat16"
    causal: bool = True
    masked: bool = False
    dropout: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    planned: bool = False  # whether the kernels that hash and sort are compiled too

    def __str__(self) -> str:
        words = [
            f"c={self.chunk}",
            f"d={self.dim}",
            self.dtype,
            *map("{0[0]}={0[1]}".format, self.options.items()),
        ]
        words += ["causal" if self.causal else "bidirectional"]
        words += ["masked"] * self.masked + [f"dropout={self.dropout}"] * (self.dropout > 0)
        return " ".join(words)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the assembler says of a kernel."""

    case: str
    kernel: str
    warps: int
    registers: int
    spilled_bytes: int
    shared_bytes: int
    wgmma: int  # products of warp groups
    mma: int  # products of single warps, as on older devices
    seconds: float

    @property
    def fault(self) -> str | None:
        """What is wrong with it."""
        if self.spilled_bytes:
            return "spills registers"
        if MULTIPLIES.search(self.kernel) and (self.mma or not self.wgmma):
            return "multiplies without wgmma"
        return None


def shipped() -> Iterator[Case]:
    """Yield every configuration: sizes, directions, masks, types, and each option alone."""
    for chunk in (32, 64, 128):
        for dim in (32, 64, 128):
            for causal in (True, False):
                for masked in (False, True):
                    yield Case(chunk=chunk, dim=dim, causal=causal, masked=masked, planned=causal)
            yield Case(chunk=chunk, dim=dim, dtype="float16")
            yield Case(chunk=chunk, dim=dim, causal=False, options={"after": 1})
            yield Case(chunk=chunk, dim=dim, dropout=0.1)
            yield Case(chunk=chunk, dim=dim, options={"same_bucket": True})
            yield Case(chunk=chunk, dim=dim, options={"count_once": True})
            yield Case(chunk=chunk, dim=dim, options={"strict": True, "buckets": 8})


SOME = (
    Case(chunk=64, dim=64, planned=True),
    Case(chunk=128, dim=128, causal=False, masked=True),
)


class Pretended:
    """A driver that says it has the target's device and never touches one."""

    def get_current_target(self) -> GPUTarget:
        """Return the target."""
        return TARGET

    def get_current_device(self) -> int:
        """Return the only device."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return no stream."""
        return 0


class Recorder:
    """Compiles in place of launching."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, Any, float]] = []
        run = JITFunction.run

        def compile_only(function: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
            start = time.perf_counter()
            kernel = run(function, *args, grid=grid, warmup=True, **options)
            self.compiled.append((function.fn.__name__, kernel, time.perf_counter() - start))
            return kernel

        setattr(JITFunction, "run", compile_only)  # noqa: B010 - it is typed as no attribute
        driver.set_active(Pretended())  # pyright: ignore[reportArgumentType] - all it is asked for

    def compile(self, case: Case) -> Iterator[Compiled]:
        """Call the wrappers, forward and backward, on memory that nobody reads."""
        self.compiled.clear()
        options = LSHOptions(chunk=case.chunk, **case.options)
        shape = (1, HEADS, LENGTH, case.dim)
        q, v = (torch.empty(shape, dtype=getattr(torch, case.dtype)).requires_grad_() for _ in "qv")
        mask = torch.ones(1, LENGTH, dtype=torch.bool) if case.masked else None
        index = torch.zeros(1, HEADS, options.hashes, LENGTH, dtype=torch.int32)
        plan = LSHPlan(order=index, place=index.clone(), bucket=index.to(torch.int16))
        how = {"causal": case.causal, "scale": 1.0, "dropout": case.dropout}
        out = triton_attention.attend(q, v, plan, mask, options, **how)
        torch.autograd.grad(out, (q, v), torch.empty_like(out))
        if case.planned:
            rotations = torch.empty(HEADS, case.dim, options.hashes, 16)
            triton_plan.make_plan(q, rotations, [16, 16], mask)
        for name, kernel, seconds in self.compiled:
            yield described(str(case), name, kernel, seconds)


def described(case: str, name: str, kernel: Any, seconds: float) -> Compiled:
    """Assemble the kernel once more and read what is told about it."""
    ptx = kernel.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        command = [knobs.nvidia.ptxas.path, "-v", f"--gpu-name={ARCHITECTURE}", str(source)]
        told = subprocess.run(
            [*command, "-o", str(Path(folder, "kernel.cubin"))],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", told)
    (registers,) = re.findall(r"Used (\d+) registers", told)
    return Compiled(
        case=case,
        kernel=name,
        warps=kernel.metadata.num_warps,
        registers=int(registers),
        spilled_bytes=sum(map(int, spilled)),
        shared_bytes=kernel.metadata.shared,
        wgmma=ptx.count("wgmma.mma_async"),
        mma=len(re.findall(r"\bmma\.sync", ptx)),
        seconds=round(seconds, 1),
    )


def main(arguments: list[str]) -> int:
    """Compile and print."""
    recorder, faults = Recorder(), 0
    as_json = "--some" in arguments
    for case in SOME if as_json else shipped():
        for one in recorder.compile(case):
            faults += one.fault is not None
            line = json.dumps(asdict(one)) if as_json else row(one)
            print(line, flush=True)  # noqa: T201 - a script
    return 1 if faults else 0


def row(one: Compiled) -> str:
    """Return a row of the table."""
    figures = (
        f"warps {one.warps}  registers {one.registers:3}  spilled {one.spilled_bytes:4} B  "
        f"shared {one.shared_bytes / 1024:5.1f} KiB  wgmma {one.wgmma:2}  mma {one.mma}"
    )
    return f"{one.case:45} {one.kernel:31} {figures}  {one.fault or ''}".rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
