"""The few numbers of the cost model that no data sheet states, each with a meaning; `calibrate.py` finds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """What is the same for all hardware and all programs."""

    product_rate: float = 0.90
    """Sustained rate of a large matrix product inside training, of the best that was measured on the GPU alone."""
    low_product_rate: float = 0.85
    """The same for float8 and below."""
    plain_rate: float = 0.9
    """Of that, for programs without the vendor's training kernels, from Hopper on."""
    expert_rate: float = 0.85
    """Rate of products grouped by expert, of one large product's: uneven groups, more and smaller tiles."""
    power_exponent: float = 0.1
    """How much of it is lost on GPUs with fewer watts for their peak than an A100, as a power of the ratio."""
    last_wave: float = 0.7
    """Share of a product's last wave of tiles whose idle SMs stay idle; split-k gives the rest something to do."""
    tile_s: float = 2e-6
    """Seconds to begin and end one tile of a product, on an SM."""
    attention_1: float = 0.48
    """Forward rate of the first flash attention kernels, long sequences and heads of 128, of that of large products."""
    attention_2: float = 0.78
    """Of FlashAttention-2, on the GPUs that it was written for."""
    attention_3: float = 0.80
    """Of kernels written for Hopper and later ones."""
    old_attention: float = 0.65
    """What is left of the first two's rate on those."""
    memory_rate: float = 0.80
    """Of memory bandwidth that operations bound by it reach."""
    traffic: float = 1.0
    """Bytes that operations between the products move, of our count of them."""
    cast_traffic: float = 1.0
    """Bytes that conversions to low precision move, of our count."""
    launch_s: float = 20e-6
    """Host's time for one operation."""
    gap_s: float = 1.5e-6
    """Device's idle time between two operations."""
    link_rate: float = 0.75
    """Of a scale-up link's bandwidth that collectives reach."""
    nic_rate: float = 0.80
    """Of a network card's bandwidth that collectives reach."""
    hop_s: float = 8e-6
    """Start of a collective inside a domain."""
    overlap_loss: float = 0.15
    """Share of a hidden communication's time by which the computation beside it slows down."""
    hidden_tensor: float = 0.6
    """Share of communication between tensor ranks, or with experts, that programs which overlap it hide."""
    straggler: float = 0.005
    """Slowing per doubling of nodes."""
    fixed_s: float = 0.02
    """Of a step, whatever its size: data, logging, synchronisation."""
