"""What `plan search` and `plan estimate` are asked about: their common options, and the job that they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.plan.options import writing

if TYPE_CHECKING:
    from colosse.plan.bill import Bill
    from colosse.plan.costs import Amount
    from colosse.plan.estimate import Band, Estimate, Task
    from colosse.plan.hardware import Catalogue, Cluster
    from colosse.plan.job import Job
    from colosse.plan.reliability import Reliability
    from colosse.spec.model import ModelSpec
    from colosse.train.recipe import Recipe

ModelOption = Annotated[
    str, typer.Option("--model", help="A preset, such as llama3-405b, or a recipe whose model is meant.")
]
GpuOption = Annotated[str, typer.Option("--gpu", help="A GPU or a node of the catalogue.")]
TokensOption = Annotated[
    str, typer.Option("--tokens", help="Of the whole training, such as 15.6T.", show_default=False)
]
BatchOption = Annotated[
    str,
    typer.Option(
        "--batch",
        help="Tokens of a step, such as 4194304, or about 16M, which is rounded to what divides.",
        show_default=False,
    ),
]
SeqLenOption = Annotated[
    int,
    typer.Option("--seq-len", help="Tokens of a sequence; without it 8192, or the model's most.", show_default=False),
]
PriceOption = Annotated[
    str,
    typer.Option(
        "--price",
        help="Dollars per GPU and hour: 2.5 or 2-4.5; without it what clouds ask on demand.",
        show_default=False,
    ),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write a page that shows it to this file.", show_default=False)
]
ExplainFlag = Annotated[
    bool, typer.Option("--explain", help="Show where each millisecond goes, the memory and the pipeline.")
]
DEFAULT_SEQ_LEN = 8192


@dataclass(frozen=True)
class Asked:
    """A job, and what is known beside it."""

    name: str
    """Of the model."""
    model: dict[str, Any]
    """Its table in a recipe."""
    job: Job
    tokens: float
    price: Amount | None
    """Dollars per GPU and hour."""
    price_given: bool
    catalogue: Catalogue


def check_installed() -> None:
    """Refuse where the planner's extra is missing.

    Raises:
        UserError: with how to install it.
    """
    from importlib.util import find_spec

    from colosse.core.errors import UserError

    if find_spec("numpy") is None:
        raise UserError("the planner needs numpy", hint="pip install 'colosse[plan]'")


def model_of(name: str) -> tuple[str, dict[str, Any], ModelSpec]:
    """A model's name, its table in a recipe, and itself.

    Raises:
        UserError: no such preset or recipe.
    """
    from colosse.core.errors import UserError
    from colosse.spec.presets import preset

    if name.endswith(".toml"):
        from colosse.train.recipe import load_recipe

        recipe = load_recipe(Path(name))
        return recipe_model(recipe)
    if not name:
        raise UserError("which model?", hint="--model llama3-405b, or a recipe", param="model")
    return name, {"preset": name}, preset(name).spec


def recipe_model(recipe: Recipe) -> tuple[str, dict[str, Any], ModelSpec]:
    """The same of a recipe."""
    choice = recipe.model
    table = {"preset": choice.preset} if choice.preset else choice.spec.model_dump(exclude_none=True)
    if choice.preset:
        from colosse.spec.presets import preset

        base = preset(choice.preset).spec.model_dump()
        table |= {key: value for key, value in choice.spec.model_dump().items() if value != base[key]}
    return choice.preset or recipe.name, table, choice.spec


def recipe_job(recipe: Recipe, cluster: Cluster) -> tuple[Job, float]:
    """A step of a recipe's training on a cluster, and the tokens of all of it.

    Raises:
        UserError: the recipe cannot run.
    """
    from colosse.plan.candidates import trainer_software
    from colosse.plan.job import Job, Software
    from colosse.train.recipe import resolve

    resolved = resolve(recipe)
    job = Job(
        model=resolved.spec,
        layout=recipe.layout,
        cluster=cluster,
        seq_len=recipe.train.seq_len,
        global_batch_size=resolved.global_batch_size,
        software=trainer_software(recipe.layout, Software()),
        optimizer=recipe.optimizer.kind,
    )
    return job, float(resolved.total_tokens)


def price_of(text: str, cluster: Cluster, known: Catalogue) -> Amount | None:
    """Dollars per GPU and hour, as given or as clouds ask; None where nobody rents it.

    Raises:
        UserError: no range of prices.
    """
    from colosse.core.errors import UserError
    from colosse.plan.costs import Amount, Costs
    from colosse.plan.quantities import parse_money

    if not text:
        try:
            return Costs().gpu_hour(cluster, "on_demand", known).amount
        except UserError:
            return None
    low, _, high = text.strip().partition("-")
    if not low:
        raise UserError(f"--price: {text!r} is below 0", hint="write it as 2.5 or 2-4.5", param="price")
    ends = [parse_money(end, name="--price") for end in (low, high or low)]
    if ends[0] > ends[1]:
        raise UserError(f"--price: {text!r} is upside down", hint=f"{high}-{low}", param="price")
    return Amount.of(*ends)


def sequences_of(text: str, spec: ModelSpec, *, seq_len: int, tokens: float, gpus: int) -> int:
    """Sequences of a step from `--batch`; by scaling law without it.

    Raises:
        UserError: no number, or one that is no multiple of the sequence's length.
    """
    from colosse.core.errors import UserError
    from colosse.plan.quantities import parse_count
    from colosse.plan.search import batch_for, round_batch

    if not text:
        return batch_for(spec, seq_len=seq_len, tokens=tokens, gpus=gpus)
    wanted = parse_count(text, name="--batch")
    if not text[-1].isdigit():
        return round_batch(wanted / seq_len, gpus)
    if wanted % seq_len:
        near = max(1, round(wanted / seq_len)) * seq_len
        raise UserError(
            f"--batch: {text} tokens are no whole sequences of {seq_len}", hint=f"{near} are", param="batch"
        )
    return round(wanted / seq_len)


def estimate_fields(one: Estimate) -> dict[str, Any]:
    """An estimate as JSON types."""
    from dataclasses import asdict

    return {
        "layout": one.job.layout.model_dump(),
        "step_s": asdict(one.step_s),
        "tokens_per_second_per_gpu": asdict(one.tokens_per_s_per_gpu),
        "mfu": one.mfu,
        "model_flops": one.model_flops,
        "breakdown_s": one.breakdown,
        "fits": one.fits,
        "memory": [{**asdict(stage), "total": stage.total} for stage in one.memory],
        "memory_band": one.memory_band,
        "cautions": one.cautions,
    }


def failures_of(asked: Asked, one: Estimate) -> Reliability | None:
    """What failures make of the training; None without tokens."""
    from colosse.plan.reliability import checkpoint_bytes, reliability
    from colosse.plan.search import training_seconds
    from colosse.spec.counts import params

    seconds = training_seconds(one, asked.tokens)
    if seconds is None:
        return None
    job = one.job
    return reliability(
        job.cluster,
        params=params(job.model).total,
        ideal_days=seconds.value / 86_400,
        checkpoint_bytes=checkpoint_bytes(job.model, job.optimizer),
        replicas=job.layout.dp_replicate,
    )


def rent(money: Band, failures: Reliability) -> str:
    """Of the GPUs, without failures and with them."""
    from colosse.core.numbers import dollars

    more = dollars(money.value * failures.days.value / failures.ideal_days)
    return f"{dollars(money.value)} ({dollars(money.low)} to {dollars(money.high)}); with failures {more}"


def tasks_of(one: Estimate) -> list[Task]:
    """The pipeline's timeline; nothing without a pipeline."""
    from colosse.plan.cost import timeline

    return timeline(one.job).tasks if one.job.layout.pp > 1 else []


def write_report(asked: Asked, one: Estimate, path: Path, **more: Any) -> None:
    """Draw the page of a layout.

    Args:
        asked: what was asked.
        one: the layout.
        path: of the page.
        more: further fields of `report.Plan`.
    """
    from colosse.plan.report import Plan
    from colosse.plan.report import write_report as written
    from colosse.plan.whatif import scaling, sensitivity

    failures = failures_of(asked, one)
    plan = Plan(
        name=asked.name,
        estimate=one,
        tokens=asked.tokens,
        price=asked.price,
        tasks=tasks_of(one),
        curve=scaling(asked.job, one),
        effects=sensitivity(one, asked.price, failures),
        reliability=failures,
        bill=_bill(asked, one, failures),
        **more,
    )
    with writing(path):
        written(plan, path)


def _bill(asked: Asked, one: Estimate, failures: Reliability | None) -> Bill | None:
    if failures is None or asked.price is None:
        return None
    from colosse.plan.bill import bill

    return bill(
        one.job.cluster,
        days=failures.ideal_days,
        tokens=asked.tokens,
        goodput=failures.ettr.value,
        model=asked.name,
        prices={"gpu_hour": (asked.price.low, asked.price.high)} if asked.price_given else None,
        hardware=asked.catalogue,
    )
