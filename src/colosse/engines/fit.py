"""Which models this machine can run, and which one it runs when nobody says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from colosse.core.files import SPARE_BYTES, format_bytes
from colosse.core.machine import Machine, machine
from colosse.core.settings import Settings
from colosse.engines.catalogue import DEFAULT_MODEL, SMALL_MODEL, Catalogue, ModelEntry
from colosse.engines.store import ModelStore

CONTEXT = 8192
"""Tokens of context that the cache is counted for; longer ones cost more."""
OVERHEAD_BYTES = 400 << 20
"""Program, scratch buffers, and what else the engine's process takes."""
COMFORTABLE = 0.8
"""Share of the free memory that may be filled without a warning."""

AUTO = "auto"


@dataclass(frozen=True)
class Fit:
    """Whether a model runs here.

    Attributes:
        verdict: `yes`; `tight` when other programs must give way; `no`; `unknown` when its size is not known.
        reason: one line for the person.
        needed_bytes: memory for weights, cache and engine; 0 when unknown.
    """

    verdict: Literal["yes", "tight", "no", "unknown"]
    reason: str
    needed_bytes: int


def needed_bytes(entry: ModelEntry) -> int:
    """Memory that a model takes with a context of `CONTEXT` tokens, or its own where that is shorter."""
    context = min(entry.max_model_len or CONTEXT, CONTEXT)
    return entry.weight_bytes + context * entry.kv_bytes_per_token + OVERHEAD_BYTES


def fits(entry: ModelEntry, here: Machine) -> Fit:
    """Compare what a model needs with the memory of this machine."""
    if not entry.weight_bytes:
        return Fit("unknown", "its size is not known before it is pulled", 0)
    needed = needed_bytes(entry)
    on_gpu = sum(gpu.memory_total for gpu in here.gpus)
    if needed <= COMFORTABLE * on_gpu:
        return Fit("yes", f"needs {format_bytes(needed)}, the GPU has {format_bytes(on_gpu)}", needed)
    if entry.format == "safetensors":
        has = f"{format_bytes(on_gpu)}" if on_gpu else "none"
        return Fit("no", f"needs a GPU with {format_bytes(needed / COMFORTABLE)}; here: {has}", needed)
    free, total = here.memory_available, here.memory_total
    if needed <= COMFORTABLE * free:
        return Fit("yes", f"needs {format_bytes(needed)} of memory, {format_bytes(free)} are free", needed)
    if needed <= max(free, COMFORTABLE * total):
        return Fit("tight", f"needs {format_bytes(needed)} of memory, only {format_bytes(free)} are free", needed)
    return Fit("no", f"needs {format_bytes(needed)} of memory, there are {format_bytes(total)}", needed)


def smallest_sensible(catalogue: Catalogue, here: Machine, disk_free: int) -> str:
    """The default model; the small one where memory or disk is short for it.

    Args:
        catalogue: where both are.
        here: this machine.
        disk_free: bytes free where models are kept.
    """
    entry = catalogue.get(DEFAULT_MODEL)
    room = disk_free >= entry.size_bytes + entry.size_bytes // 4 + SPARE_BYTES
    return DEFAULT_MODEL if room and needed_bytes(entry) <= here.memory_available else SMALL_MODEL


def recommend(catalogue: Catalogue, here: Machine, disk_free: int) -> str:
    """The model that suits this machine best: bigger than the default only where it would also be quick.

    A GPU is quick with all that it holds. Processors read every active weight once a token, so what they are asked to
    read is bounded by their number.
    """
    on_gpu = sum(gpu.memory_total for gpu in here.gpus)
    best = catalogue.get(smallest_sensible(catalogue, here, disk_free))
    for entry in catalogue:
        if "chat" not in entry.capabilities or entry.format != "gguf" or "multi" not in entry.languages or entry.terms:
            continue
        quick = needed_bytes(entry) <= COMFORTABLE * on_gpu or (
            fits(entry, here).verdict == "yes"
            and (entry.active_parameters or entry.parameters) <= 0.5e9 * here.cpus
            and here.cpus >= 8
        )
        if quick and entry.parameters > best.parameters and entry.weight_bytes + SPARE_BYTES <= disk_free:
            best = entry
    return best.id


def resolve_auto(settings: Settings, store: ModelStore | None = None) -> str:
    """The model to serve: `settings.model`; for `auto` the default, or what is installed in its place.

    The default (the small one on a small machine) is the answer when it is installed or nothing else that can chat is;
    otherwise the largest installed one that fits.
    """
    if settings.model != AUTO:
        return settings.model
    store = store or ModelStore(settings)
    here = machine()
    default = smallest_sensible(store.catalogue, here, here.disk_free(settings.models_dir))
    usable = {model.id: model for model in store.installed() if not model.problem}
    for name in (default, DEFAULT_MODEL, SMALL_MODEL):
        if name in usable and fits(usable[name].entry, here).verdict != "no":
            return name
    chatty = [m for m in usable.values() if "chat" in m.entry.capabilities and fits(m.entry, here).verdict != "no"]
    return max(chatty, key=lambda m: m.size_bytes).id if chatty else default
