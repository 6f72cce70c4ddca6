"""What counts as 100%."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.train import peak  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 311.9),
        ("NVIDIA L40S", 362.1),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GB200", 2500.0),
    ],
)
def test_a_known_gpu_counts_with_its_data_sheet(name: str, tflops: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak.peak_flops(torch.device("cuda", 0), torch.bfloat16)[0] == tflops * 1e12


def test_a_processor_counts_with_what_it_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "MEASURE_S", 0.01)
    flops, origin = peak.peak_flops(torch.device("cpu"), torch.float32)
    assert flops > 1e9 and origin == "measured matrix product in float32"
