"""One device: its opening, its settings, its waiting, its name."""

from __future__ import annotations

import torch

from harness.schema import Cell
from models.variant import Unsupported


def devices() -> list[str]:
    """Return the kinds of devices that cells can run on here, the CPU first."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def open_device(cell: Cell) -> torch.device:
    """Make the cell's device ready and return it: the first visible one of its kind.

    Intra-operation threads are the cell's; float32 means float32 (no TF32 in matrix products);
    nothing else is changed, and the environment record tells what is in force.

    Raises:
        Unsupported: there is no such device here.
    """
    torch.set_num_threads(cell.threads)
    torch.set_float32_matmul_precision("highest")
    if cell.device == "cpu":
        return torch.device("cpu")
    if cell.device not in devices():
        raise Unsupported(f"{cell.device}: no {cell.device.upper()} device here")
    return torch.device(cell.device, 0)


def seed(value: int) -> None:
    """Seed the generators of all devices."""
    torch.manual_seed(value)


def synchronize(device: str) -> None:
    """Wait until all work that was given to a device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
