"""`colosse plan hardware`: the catalogue that plans are made with, and where its figures come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from colosse.cli.output import JsonFlag, print_json
from colosse.cli.plan.options import HardwareOption

if TYPE_CHECKING:
    from colosse.plan.hardware import Catalogue, Fabric, Gpu, Node, Price, Storage

WIDE = 120
"""Columns from which on the tables show everything."""
EntryT = TypeVar("EntryT")
Columns: TypeAlias = dict[str, Callable[[EntryT], str]]
_SECTIONS = ("gpus", "nodes", "fabrics", "storages")


def hardware(
    name: Annotated[
        str | None,
        typer.Argument(help="One GPU, node, fabric or storage: all of it, with sources.", show_default=False),
    ] = None,
    prices: Annotated[bool, typer.Option("--prices", help="What GPUs rent for, with dates.")] = False,
    files: HardwareOption = None,
    json: JsonFlag = False,
) -> None:
    """Show the hardware that plans are made with: GPUs, nodes, fabrics, storage, prices."""
    from colosse.plan.hardware import Gpu, Node, catalogue

    known = catalogue(files or ())
    found = None if name is None else known.find(name)
    if prices and (found is None or isinstance(found, (Gpu, Node))):
        rows = list(_price_rows(known, [found] if found else known.gpus.values()))
        if json:
            print_json([{"gpu": gpu, **price.model_dump()} for gpu, price in rows])
        else:
            _print_prices(rows, sources=found is not None)
    elif found is not None:
        table = found.model_dump() | ({"nodes": _nodes_of(known, found)} if isinstance(found, Gpu) else {})
        if json:
            print_json({"is": type(found).__name__.lower(), **table})
        else:
            _print_entry(known, found, table)
    elif json:
        print_json({section: list(getattr(known, section).values()) for section in _SECTIONS})
    else:
        _print_all(known)


def _nodes_of(known: Catalogue, gpu: Gpu) -> list[str]:
    return [node.name for node in known.nodes_for(gpu)]


def _price_rows(known: Catalogue, entries: Iterable[Gpu | Node]) -> Iterable[tuple[str, Price]]:
    for entry in entries:
        for price in known.prices_of(entry):
            yield getattr(entry, "gpu", entry.name), price


def _print_all(known: Catalogue) -> None:
    from rich.console import Console

    gpus: Columns[Gpu] = {
        "GPU": lambda gpu: gpu.name,
        "year": lambda gpu: str(gpu.year),
        "16 bit": lambda gpu: _number(_wide(gpu.tflops)),
        "reached": lambda gpu: _number(_wide(gpu.achievable_tflops)),
        "8 bit": lambda gpu: _number(gpu.tflops.get("float8", 0)),
        "memory GB": lambda gpu: f"{gpu.memory_gb:.1f}",
        "TB/s": lambda gpu: f"{gpu.memory_gb_per_s / 1000:.2f}",
        "link GB/s": lambda gpu: _number(gpu.link_gb_per_s),
        "W": lambda gpu: _number(gpu.watts),
        "USD/h": lambda gpu: _rent(known.prices_of(gpu)),
        "to buy, kUSD": lambda gpu: _range(gpu.price_usd, 1000),
    }
    nodes: Columns[Node] = {
        "node": lambda node: node.name,
        "of": lambda node: node.provider,
        "GPUs": lambda node: f"{node.gpus} x {node.gpu}",
        "domain": lambda node: _number(node.domain),
        "Gb/s": lambda node: f"{node.nic_gb_per_s * 8:g}",
        "host GB": lambda node: _number(node.memory_gb),
        "USD/h": lambda node: _rent(node.prices),
        "to buy, kUSD": lambda node: _range(node.price_usd, 1000),
    }
    fabrics: Columns[Fabric] = {
        "fabric": lambda fabric: fabric.name,
        "kind": lambda fabric: fabric.kind,
        "pod": lambda fabric: _number(fabric.pod_gpus) or "all",
        "above it": lambda fabric: f"1:{fabric.oversubscription:g}",
        "us": lambda fabric: f"{fabric.latency_us:g}",
        "adds up": lambda fabric: "yes" if fabric.in_network_reduction else "",
    }
    storages: Columns[Storage] = {
        "storage": lambda storage: storage.name,
        "writes GB/s": lambda storage: f"{storage.write_gb_per_s:g}",
        "reads GB/s": lambda storage: f"{storage.read_gb_per_s:g}",
        "USD a TB and month": lambda storage: f"{storage.usd_per_tb_month:g}",
    }
    if Console().width < WIDE:
        for name in ("year", "reached", "link GB/s", "to buy, kUSD"):
            del gpus[name]
        for name in ("of", "host GB", "to buy, kUSD"):
            del nodes[name]
    _show(known.gpus.values(), gpus)
    _show(known.nodes.values(), nodes)
    _show(known.fabrics.values(), fabrics)
    _show(known.storages.values(), storages)
    print("Products in TFLOP/s without sparsity, links one way; Gb/s and USD/h are for one GPU, on demand where known.")
    print("`colosse plan hardware NAME` shows one entry and where its figures come from.")


def _print_prices(rows: list[tuple[str, Price]], *, sources: bool) -> None:
    if not rows:
        print("no rental price is known; --hardware adds your own")
        return
    cells = [
        [gpu, price.provider, price.kind.replace("_", " "), _range(price.usd_per_gpu_hour), price.date, price.region]
        for gpu, price in rows
    ]
    _table(["GPU", "at", "kind", "USD/h", "on", "region"], cells)
    if sources:
        for source in dict.fromkeys(price.source for _, price in rows):
            print(source)


def _print_entry(known: Catalogue, found: Gpu | Node | Fabric | Storage, table: dict[str, Any]) -> None:
    from colosse.plan.hardware import Gpu, Node

    for key, value in table.items():
        if key == "prices" or value in ("", [], {}):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{name} {number:g}" for name, number in value.items())
        elif isinstance(value, (list, tuple)):
            value = (" to " if isinstance(value, tuple) else ", ").join(map(_text, value))
            value = "not known" if value == "0 to 0" else value
        print(f"{key:<24}{_text(value)}")
    if isinstance(found, (Gpu, Node)) and (rows := list(_price_rows(known, [found]))):
        print()
        _print_prices(rows, sources=True)


def _rent(prices: list[Price]) -> str:
    """On demand, or of whatever kind there is."""
    shown = [price.usd_per_gpu_hour for price in prices if price.kind == "on_demand"]
    shown = shown or [price.usd_per_gpu_hour for price in prices]
    return _range((min(low for low, _ in shown), max(high for _, high in shown))) if shown else ""


def _wide(products: dict[str, float]) -> float:
    return products.get("bfloat16") or products.get("float16", 0)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and value < 1e5 else str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value else ""


def _range(pair: tuple[float, float], unit: float = 1) -> str:
    if not pair[1]:
        return ""
    places = 2 if unit == 1 else 0 if pair[0] >= 10 * unit else 1
    low, high = (f"{value / unit:.{places}f}" for value in pair)
    return low if low == high else f"{low}-{high}"


def _show(entries: Iterable[EntryT], columns: Columns[EntryT]) -> None:
    _table(list(columns), [[show(entry) for show in columns.values()] for entry in entries])


def _table(names: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(names):
        numbers = index and all(row[index][:1].isdigit() for row in rows if row[index])
        table.add_column(name, justify="right" if numbers else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    print()
