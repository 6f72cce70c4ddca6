"""Rotary positions (arXiv:2104.09864) in Hugging Face's half rotation, so that weights of its families load unpermuted.

Shapes: B sequences, S tokens of a whole sequence, H heads, E head_dim.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from colosse.spec.model import ModelSpec, RopeScaling


def frequencies(spec: ModelSpec) -> tuple[Tensor, float]:
    """Radians per position of each pair of channels [E / 2], float32, and what cosine and sine are multiplied by."""
    # In float32 and in this order: bit for bit what `transformers` computes.
    pairs = torch.arange(0, spec.head_dim, 2, dtype=torch.float32, device="cpu")
    powers = spec.rope_theta ** (pairs / spec.head_dim)
    plain = 1.0 / powers
    scaling = spec.rope_scaling
    if scaling is None:
        return plain, 1.0
    if scaling.kind == "linear":
        return plain / scaling.factor, 1.0
    if scaling.kind == "llama3":
        return _llama3(plain, scaling), 1.0
    return _yarn(powers, scaling, spec)


def _llama3(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Llama 3.1's rule: long waves are stretched, short ones kept, the ones between blended."""
    wavelength = 2 * math.pi / plain
    span = scaling.high_freq_factor - scaling.low_freq_factor
    keep = (scaling.original_seq_len / wavelength - scaling.low_freq_factor) / span
    blended = (1 - keep) * plain / scaling.factor + keep * plain
    long_wave = wavelength > scaling.original_seq_len / scaling.low_freq_factor
    short_wave = wavelength < scaling.original_seq_len / scaling.high_freq_factor
    return torch.where(long_wave, plain / scaling.factor, torch.where(short_wave, plain, blended))


def _yarn(powers: Tensor, scaling: RopeScaling, spec: ModelSpec) -> tuple[Tensor, float]:
    """YaRN (arXiv:2309.00071, section 3.2): a ramp over channels between stretched and kept, and a temperature."""

    def channel(rotations: float) -> float:
        """Pair of channels that turns so many times within the original length."""
        turns = scaling.original_seq_len / (rotations * 2 * math.pi)
        return spec.head_dim * math.log(turns) / (2 * math.log(spec.rope_theta))

    low = max(math.floor(channel(scaling.beta_fast)), 0)
    high = min(math.ceil(channel(scaling.beta_slow)), spec.head_dim - 1)
    width = (high - low) or 0.001
    stretch = ((torch.arange(spec.head_dim // 2, dtype=torch.float32, device="cpu") - low) / width).clamp(0, 1)
    # 0.1 ln(factor) + 1 is the paper's equation 22, taken on cosine and sine instead of on the logits.
    scale = scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1.0
    keep = 1 - stretch
    return 1.0 / (scaling.factor * powers) * (1 - keep) + 1.0 / powers * keep, scale


class Rope:
    """Cosines and sines of one model, kept in float32 per device for the longest sequence so far.

    Not a module and without tensors of its own until it is used: a model that was built on the meta device, and each
    stage of a pipeline, makes its table when the first batch arrives.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def table(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions 0 .. length-1, each [length, E / 2]."""
        known = self._tables.get(device)
        if known is None or known[0].shape[0] < length:
            with torch.no_grad():
                radians, scale = frequencies(self.spec)
                angles = torch.outer(torch.arange(length, dtype=torch.float32, device="cpu"), radians)
                known = ((angles.cos() * scale).to(device), (angles.sin() * scale).to(device))
            self._tables[device] = known
        cos, sin = known
        return cos[:length], sin[:length]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels (i, i + E/2) by its token's angle.

    Args:
        x: [B, S, H, E] of any floating type; the arithmetic is in float32 or better.
        cos: [S, E / 2] or [B, S, E / 2].
        sin: as cos.
    """
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).type_as(x)
