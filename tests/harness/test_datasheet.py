import pytest

from harness.datasheet import find


@pytest.mark.parametrize(
    ("name", "half", "memory"),
    [
        ("NVIDIA A100-SXM4-40GB", 312, 1.555),
        ("NVIDIA A100-SXM4-80GB", 312, 2.039),
        ("NVIDIA A100 80GB PCIe", 312, 1.935),
        ("NVIDIA H100 80GB HBM3", 989.5, 3.35),
        ("NVIDIA H100 PCIe", 756, 2.0),
        ("NVIDIA H100 NVL", 835.5, 3.9),
        ("NVIDIA H200", 989.5, 4.8),
        ("NVIDIA GH200 480GB", 990, 4.0),
        ("NVIDIA L4", 121, 0.3),
        ("NVIDIA L40S", 362, 0.864),
        ("NVIDIA RTX 6000 Ada Generation", 364.2, 0.96),
        ("NVIDIA GeForce RTX 4090", 165.2, 1.008),
        ("NVIDIA B200", 2250, 7.7),
        ("AMD Instinct MI300X", 1307.4, 5.3),
    ],
)
def test_a_driver_s_name_finds_its_sheet(name: str, half: float, memory: float) -> None:
    sheet = find(name)
    assert sheet is not None
    assert sheet.flops_per_s["bfloat16"] == pytest.approx(half * 1e12)
    assert sheet.bytes_per_s == pytest.approx(memory * 1e12)


def test_the_a6000_has_its_dense_figure_and_not_the_one_with_sparsity() -> None:
    sheet = find("NVIDIA RTX A6000")
    assert sheet is not None
    assert sheet.flops_per_s["bfloat16"] == pytest.approx(154.8e12)  # the sheet prints 309.7


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA T400 4GB",
        "NVIDIA A100X",
        "Quadro RTX 6000",
        "",
        None,
    ],
)
def test_a_device_that_is_another_one_has_no_sheet(name: str | None) -> None:
    assert find(name) is None


def test_a_card_without_bfloat16_promises_none() -> None:
    sheet = find("Tesla T4")
    assert sheet is not None
    assert "bfloat16" not in sheet.flops_per_s
    assert sheet.flops_per_s["float16"] == pytest.approx(65e12)
