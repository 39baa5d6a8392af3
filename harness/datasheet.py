"""Peak rates that makers promise for their accelerators, by the name that a driver reports.

Dense figures only: data sheets print twice as much "with sparsity", which no attention kernel uses.
`float32` is without TF32, as cells run; `float64` is that of matrix units where there are any. A
name that is not here, a part of a device (MIG) or a laptop's version of a card has no figures: then
the rates measured on the spot are all there is. NVIDIA figures are at boost clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TERA = 1e12
# Words of a name that say it is another device than the one with the same number.
_OTHERS = frozenset({"MIG", "LAPTOP", "MOBILE", "MAX", "QMAX", "MAXQ", "D", "SUPER", "TI", "ADA"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSheet:
    """What is promised of a device."""

    device: str  # as people call it
    flops_per_s: Mapping[str, float]  # dense, by dtype; one that is not here is not promised
    bytes_per_s: float  # of the device's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A device and the words that its reported name must hold, all of them."""

    words: frozenset[str]
    sheet: DataSheet


def _entry(words: str, half: float, single: float, double: float | None, memory: float) -> _Entry:
    """Make an entry: words of the name, TFLOP/s in 16, 32 and 64 bits, TB/s."""
    rates = {"bfloat16": half * TERA, "float16": half * TERA, "float32": single * TERA}
    if double is not None:
        rates["float64"] = double * TERA
    if words.partition(" ")[0] in {"V100", "T4"}:  # before Ampere: no bfloat16
        del rates["bfloat16"]
    sheet = DataSheet(device=words, flops_per_s=rates, bytes_per_s=memory * TERA)
    return _Entry(words=frozenset(words.split()), sheet=sheet)


# The first entry whose words are all in the name counts: what is more special stands first.
_SHEETS = (
    # NVIDIA HGX B200 data sheet, an eighth of the baseboard's figures.
    _entry("B200", 2250, 75, 37, 7.7),
    # NVIDIA GH200 data sheet; with 96 GB of HBM3 or 144 GB of HBM3e.
    _entry("GH200 144G", 990, 67, 67, 4.9),
    _entry("GH200", 990, 67, 67, 4.0),
    # NVIDIA H200 data sheet.
    _entry("H200 NVL", 835.5, 60, 60, 4.8),
    _entry("H200", 989.5, 67, 67, 4.8),
    # NVIDIA H100 data sheet. The SXM5 card calls itself "H100 80GB HBM3".
    _entry("H100 NVL", 835.5, 60, 60, 3.9),
    _entry("H100 PCIE", 756, 51, 51, 2.0),
    _entry("H100 HBM3", 989.5, 67, 67, 3.35),
    # NVIDIA A100 data sheet.
    _entry("A100 SXM4 80GB", 312, 19.5, 19.5, 2.039),
    _entry("A100 SXM4 40GB", 312, 19.5, 19.5, 1.555),
    _entry("A100 PCIE 40GB", 312, 19.5, 19.5, 1.555),
    _entry("A100 PCIE 80GB", 312, 19.5, 19.5, 1.935),
    # NVIDIA A10, A30, A40 data sheets.
    _entry("A10", 125, 31.2, None, 0.6),
    _entry("A30", 165, 10.3, 10.3, 0.933),
    _entry("A40", 149.7, 37.4, None, 0.696),
    # NVIDIA L4, L40, L40S data sheets: half of the figures with sparsity.
    _entry("L4", 121, 30.3, None, 0.3),
    _entry("L40S", 362, 91.6, None, 0.864),
    _entry("L40", 181, 90.5, None, 0.864),
    # NVIDIA RTX A6000 data sheet: 309.7 with sparsity.
    _entry("A6000", 154.8, 38.7, None, 0.768),
    # NVIDIA Ada and Blackwell GPU architecture papers, 16 bits with 32-bit accumulation.
    _entry("6000 ADA", 364.2, 91.1, None, 0.96),
    _entry("RTX 4090", 165.2, 82.6, None, 1.008),
    _entry("RTX 5090", 209.5, 104.8, None, 1.792),
    # NVIDIA GA102 architecture paper, 16 bits with 32-bit accumulation.
    _entry("RTX 3090", 71, 35.6, None, 0.936),
    # NVIDIA V100 and T4 data sheets.
    _entry("V100 SXM2", 125, 15.7, 7.8, 0.9),
    _entry("V100 PCIE", 112, 14, 7, 0.9),
    _entry("T4", 65, 8.1, None, 0.32),
    # AMD Instinct MI300X and MI325X data sheets, matrix units.
    _entry("MI325X", 1307.4, 163.4, 163.4, 6.0),
    _entry("MI300X", 1307.4, 163.4, 163.4, 5.3),
)


def find(device_name: str | None) -> DataSheet | None:
    """Return the data sheet of a device by the name that its driver reports, or None.

    "NVIDIA A100-SXM4-80GB", "Tesla T4" and "NVIDIA H100 80GB HBM3" are cut into words, and a sheet
    fits if all of its words are among them and no word says that this is another device.
    """
    words = frozenset(re.findall(r"[A-Z0-9]+", (device_name or "").upper()))
    for entry in _SHEETS:
        if entry.words <= words and not (words - entry.words) & _OTHERS:
            return entry.sheet
    return None
