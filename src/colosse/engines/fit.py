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
KV_BYTES_PER_TOKEN = 1 << 16
"""Cache of one token for a model that does not say: about that of an 8 B model."""
COMFORTABLE = 0.8
"""Share of the free memory that may be filled without a warning."""

MANY_CPUS = 8
"""Processors from which on a model beyond the default is worth recommending without a GPU."""
PARAMETERS_PER_CPU = 1e9
"""Active parameters that a processor can be asked to read for each token while the answer still flows: the default's
1.5 billion on two processors came out at 12 tokens a second."""

AUTO = "auto"


@dataclass(frozen=True)
class Fit:
    """Whether a model runs here.

    Attributes:
        verdict: `yes`; `tight` when other programs must give way; `no`; `unknown` when its size is not known.
        reason: one line for the person.
        needed_bytes: memory for weights, cache and engine; 0 when unknown.
        quick: whether it also answers at reading speed: on a GPU, or small enough for the processors.
    """

    verdict: Literal["yes", "tight", "no", "unknown"]
    reason: str
    needed_bytes: int
    quick: bool = False


def needed_bytes(entry: ModelEntry) -> int:
    """Memory that a model takes with a context of `CONTEXT` tokens, or its own where that is shorter."""
    context = min(entry.max_model_len or CONTEXT, CONTEXT)
    return entry.weight_bytes + context * (entry.kv_bytes_per_token or KV_BYTES_PER_TOKEN) + OVERHEAD_BYTES


def fits(entry: ModelEntry, here: Machine) -> Fit:
    """Compare what a model needs with the memory of this machine."""
    if not entry.weight_bytes:
        return Fit("unknown", "its size is not known before it is pulled", 0)
    needed = needed_bytes(entry)
    on_gpu = sum(gpu.memory_total for gpu in here.gpus)
    if needed <= COMFORTABLE * on_gpu:
        return Fit("yes", f"needs {format_bytes(needed)}, the GPU has {format_bytes(on_gpu)}", needed, quick=True)
    if entry.format == "safetensors":
        has = f"{format_bytes(on_gpu)}" if on_gpu else "none"
        return Fit("no", f"needs a GPU with {format_bytes(needed / COMFORTABLE)}; here: {has}", needed)
    free, total = here.memory_available, here.memory_total
    quick = (entry.active_parameters or entry.parameters) <= PARAMETERS_PER_CPU * here.cpus
    if needed <= COMFORTABLE * free:
        reason = f"needs {format_bytes(needed)} of memory, {format_bytes(free)} are free"
        return Fit("yes", reason + ("" if quick else f"; slow on {here.cpus} processors"), needed, quick)
    if needed <= max(free, COMFORTABLE * total):
        return Fit(
            "tight", f"needs {format_bytes(needed)} of memory, only {format_bytes(free)} are free", needed, quick
        )
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
    best = catalogue.get(smallest_sensible(catalogue, here, disk_free))
    if not here.gpus and here.cpus < MANY_CPUS:
        return best.id
    for entry in catalogue:
        versatile = {"chat", "tools"} <= set(entry.capabilities) and "multi" in entry.languages
        if not versatile or entry.format != "gguf" or entry.terms:
            continue
        fit = fits(entry, here)
        room = entry.weight_bytes + SPARE_BYTES <= disk_free
        if fit.verdict == "yes" and fit.quick and room and entry.parameters > best.parameters:
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
