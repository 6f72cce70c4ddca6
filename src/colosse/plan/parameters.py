"""The few numbers of the cost model that no data sheet states, each with a physical meaning; `calibrate.py` finds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """What is the same for all hardware and all programs."""

    product_rate: float = 0.90
    """Sustained rate of a large matrix product inside training, of the best that was measured on the GPU alone: power and
    clocks under load."""
    low_product_rate: float = 0.85
    """The same for float8 and below."""
    tile_s: float = 1.0e-6
    """Seconds to begin and end one tile of a product, on an SM."""
    attention_rate: float = 0.75
    """Of a flash attention kernel written for the GPU, of the rate of large products, long sequences, heads of 128."""
    old_attention_rate: float = 0.75
    """Of one written for an older generation, from Hopper on."""
    memory_rate: float = 0.80
    """Of memory bandwidth that operations bound by it reach."""
    traffic: float = 1.0
    """Bytes that operations between the products move, of our count of them."""
    cast_traffic: float = 1.0
    """Bytes that conversions to low precision move, of our count."""
    launch_s: float = 6e-6
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
    """Share of tensor-parallel communication that programs which overlap it hide."""
    straggler: float = 0.01
    """Slowing per doubling of nodes."""
    fixed_s: float = 0.02
    """Of a step, whatever its size: data, logging, synchronisation."""
