"""What a device could compute at best: the denominator of MFU."""

from __future__ import annotations

import time

import torch

TERA = 1e12
PEAKS = (
    ("B300", 2500.0),
    ("GB200", 2500.0),
    ("B200", 2250.0),
    ("GH200", 989.4),
    ("H200", 989.4),
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.5),
    ("H100", 989.4),
    ("H800", 989.4),
    ("A100", 311.9),
    ("A800", 311.9),
    ("L40S", 362.1),
    ("L40", 181.1),
    ("L4", 121.0),
    ("A40", 149.7),
    ("A30", 165.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("MI355X", 2500.0),
    ("MI325X", 1307.4),
    ("MI300X", 1307.4),
    ("MI250X", 191.5),
)
"""Dense bfloat16 TFLOP/s by a part of the device's name, from the makers' data sheets; the first that matches counts.
MI250X: of one of its two dies, which is what torch calls a device."""

MEASURE_S = 0.25
"""Seconds for each size of matrix product that is measured."""


def peak_flops(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """FLOP/s that count as 100% of one rank, and where the number is from.

    A known GPU counts with its dense bfloat16 peak whatever the precision; everything else with the best rate that a
    large matrix product in `dtype` reaches here, with this process's threads (under a second).
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, tflops in PEAKS:
            if part in name:
                return tflops * TERA, f"dense bfloat16 peak of {name}"
    best = max(_matmul_rate(size, device, dtype) for size in (1024, 2048))
    return best, f"measured matrix product in {str(dtype).removeprefix('torch.')}"


def _matmul_rate(size: int, device: torch.device, dtype: torch.dtype) -> float:
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = a @ b
    best, end = 0.0, time.perf_counter() + MEASURE_S
    while not best or time.perf_counter() < end:
        _synchronise(device)
        began = time.perf_counter()
        torch.matmul(a, b, out=out)
        _synchronise(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
