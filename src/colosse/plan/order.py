"""What is to be billed, as a file says it; and the bills of known runs beside what was published of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from colosse.core.config import Config, load
from colosse.core.errors import NotFoundError, UserError, nearest
from colosse.plan.bill import Bill, Mode, bill
from colosse.plan.costs import Amount, Costs
from colosse.plan.hardware import Catalogue, Kind, catalogue
from colosse.plan.words import Words
from colosse.spec.counts import flops_per_token
from colosse.spec.presets import preset

DAY_S = 86_400
NUMBER = r"\d*\.?\d+(?:e[+-]?\d+)?"
NotNegative = Annotated[float, Field(ge=0)]
Figure = Literal["run_usd", "capital_usd", "kwh", "co2e_kg"]


class Published(Config):
    """What somebody has published of a run."""

    figure: Figure
    value: NotNegative
    source: str


class Order(Config):
    """A bill to be written. Its speed is said by one of `days`, `gpu_hours`, `step_seconds` and `mfu`."""

    note: str = ""
    """What is known and what is not."""
    notes: dict[str, str] = {}
    """The same in other languages, by their code."""
    mode: Mode = "rent"
    model: str = ""
    """A preset, or only a name."""
    gpu: str = "h100"
    """A GPU or a node of the catalogue."""
    gpus: Annotated[int, Field(ge=1)] = 8
    tokens: NotNegative = 0.0
    days: NotNegative = 0.0
    """Of productive training."""
    gpu_hours: NotNegative = 0.0
    """That the run held, failures included."""
    step_seconds: NotNegative = 0.0
    tokens_per_step: NotNegative = 0.0
    mfu: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the GPUs' peak."""
    seq_len: Annotated[int, Field(ge=0)] = 0
    """Of a document, for the model's FLOPs; 0: what the model is meant for, at most 8,192."""
    goodput: Annotated[float, Field(gt=0, le=1)] = 1.0
    region: str = "us"
    kind: Kind = "on_demand"
    year: Annotated[int, Field(ge=2016, le=2100)] | None = None
    """Of the prices; None: the newest."""
    fabric: str = ""
    """Of the catalogue."""
    link_gbps: NotNegative = 0.0
    storage_tb: NotNegative | None = None
    egress_tb: NotNegative = 0.0
    cpu_cores: Annotated[int, Field(ge=0)] = 0
    watts_per_gpu: NotNegative = 0.0
    prices: dict[str, float | tuple[float, float]] = {}
    published: list[Published] = []

    def bill(self, hardware: Catalogue | None = None) -> Bill:
        """Write it.

        Raises:
            UserError: a value that cannot be, or nothing that says how long the run takes.
        """
        hardware = hardware or catalogue()
        cluster = hardware.cluster(self.gpu, self.gpus, fabric=self.fabric)
        return bill(
            cluster,
            mode=self.mode,
            days=self.productive_days(hardware),
            tokens=self.tokens,
            goodput=self.goodput,
            region=self.region,
            kind=self.kind,
            year=self.year,
            model=self.model,
            prices=self.prices,
            storage_tb=self.storage_tb,
            egress_tb=self.egress_tb,
            cpu_cores=self.cpu_cores,
            watts_per_gpu=self.watts_per_gpu,
            link_gbps=self.link_gbps,
            hardware=hardware,
        )

    def productive_days(self, hardware: Catalogue) -> float:
        """Of training; from tokens and speed where days are not given.

        Raises:
            UserError: nothing says it.
        """
        if self.days:
            return self.days
        if self.gpu_hours:
            return self.gpu_hours / self.gpus / 24 * self.goodput
        if not self.tokens:
            raise UserError(
                "how long does it train?", hint="--days 54, --gpu-hours 30.84M, or --tokens with a model", param="days"
            )
        if self.step_seconds:
            if not self.tokens_per_step:
                raise UserError(
                    "step_seconds needs tokens_per_step", hint="--tokens-per-step 4M", param="tokens_per_step"
                )
            return self.tokens / self.tokens_per_step * self.step_seconds / DAY_S
        if not self.model:
            raise UserError("tokens of which model?", hint="--model llama3-405b", param="model")
        gpu = hardware.cluster(self.gpu, self.gpus).gpu
        spec = preset(self.model)
        peak = gpu.tflops.get("bfloat16") or gpu.tflops.get("float16") or max(gpu.tflops.values())
        mfu = self.mfu or self.assumed_mfu(hardware)
        flops = self.tokens * flops_per_token(spec, self.seq_len or min(spec.max_seq_len, 8192))
        return flops / (self.gpus * peak * 1e12 * mfu * DAY_S)

    def assumed_mfu(self, hardware: Catalogue) -> float:
        """The share of the peak that is taken from `costs.toml` because nothing says the speed; 0: something does."""
        if self.days or self.gpu_hours or self.step_seconds or self.mfu:
            return 0.0
        gpu = hardware.cluster(self.gpu, self.gpus).gpu
        return Costs(self.year, self.prices).get("mfu", gpu.name).amount.central

    def remarks(self, hardware: Catalogue, words: Words) -> str:
        """What the bill must say besides: the note, and the speed where it is only assumed."""
        mfu = self.assumed_mfu(hardware)
        assumed = words.label("assumed", share=mfu) if mfu else ""
        return " ".join(filter(None, (self.notes.get(words.language, self.note), assumed)))


@dataclass(frozen=True)
class Compared:
    """A published figure beside ours."""

    order: str
    figure: Figure
    published: float
    ours: Amount
    source: str


def orders() -> dict[str, Order]:
    """The bills of known runs, by name."""
    return {name: Order.model_validate(table) for name, table in _tables().items()}


def load_order(name: str | Path, overrides: Mapping[str, object] | None = None) -> Order:
    """A known run's order or one from a file, with whatever is to differ.

    Raises:
        NotFoundError: neither, with the nearest name.
        UserError: an unknown key or an invalid value in it.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return load(Order, files=[path], overrides=overrides).value
    table = _tables().get(str(name))
    if table is None:
        raise NotFoundError(f"no known run and no file is called {str(name)!r}", hint=nearest(str(name), _tables()))
    return load(Order, overrides=_flat(table) | dict(overrides or {})).value


def compare() -> list[Compared]:
    """Every published figure of the known runs beside that of their bills."""
    rows = []
    for name, order in orders().items():
        ours = order.bill()
        amounts = {"run_usd": ours.run, "kwh": ours.kwh, "co2e_kg": ours.co2e_kg}
        amounts["capital_usd"] = ours.sections.get("capital", Amount())
        rows += [Compared(name, p.figure, p.value, amounts[p.figure], p.source) for p in order.published]
    return rows


def parse_prices(texts: Sequence[str]) -> dict[str, float | tuple[float, float]]:
    """`electricity=0.05-0.08`, `gpu_hour=2`: what the caller knows better.

    Raises:
        UserError: another form, or no numbers.
    """
    prices: dict[str, float | tuple[float, float]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        ends = re.fullmatch(rf"\s*({NUMBER})\s*(?:-\s*({NUMBER})\s*)?", value)
        if not equals or ends is None:
            raise UserError(
                f"--price {text!r} is not KEY=LOW-HIGH with prices of 0 or more",
                hint="such as --price gpu_hour=1.9-2.5",
            )
        prices[key.strip()] = (float(ends[1]), float(ends[2])) if ends[2] else float(ends[1])
    return prices


def _flat(table: Mapping[str, Any]) -> dict[str, object]:
    """Tables as dotted keys, as `load` takes overrides."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{below}": deeper for below, deeper in _flat(value).items()}
        else:
            flat[key] = value
    return flat


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("bills.toml").read_text(encoding="utf-8"))
