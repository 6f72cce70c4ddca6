"""`colosse plan estimate`: time, memory and cost of one layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json
from colosse.cli.plan import jobs
from colosse.cli.plan.options import HardwareOption

if TYPE_CHECKING:
    from colosse.cli.plan.jobs import Asked
    from colosse.plan.estimate import Estimate
    from colosse.train.recipe import Recipe


def estimate(
    recipe: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            help="A recipe (TOML), in place of --model, and settings such as layout.tp=8.",
            show_default=False,
        ),
    ] = None,
    model: jobs.ModelOption = "",
    gpus: Annotated[
        int, typer.Option(help="How many GPUs; the layout's dp_shard makes up for what is missing.", show_default=False)
    ] = 0,
    gpu: jobs.GpuOption = "h100",
    tokens: jobs.TokensOption = "",
    batch: jobs.BatchOption = "",
    seq_len: jobs.SeqLenOption = 0,
    price: jobs.PriceOption = "",
    explain: jobs.ExplainFlag = False,
    report: jobs.ReportOption = None,
    hardware: HardwareOption = None,
    json: JsonFlag = False,
) -> None:
    """Estimate one layout: step time, tokens/s, MFU, memory by place, days and cost, each with its band."""
    jobs.check_installed()
    from colosse.plan.cost import estimate as estimated

    words = recipe or []
    path = Path(words[0]) if words and "=" not in words[0] else None
    overrides = words[1:] if path else words
    asked = _asked(path, overrides, model, gpu, gpus, tokens, batch, seq_len, price, hardware)
    one = estimated(asked.job)
    if report is not None:
        jobs.write_report(asked, one, report)
        note(f"written: {report}")
    if json:
        print_json(_fields(asked, one))
        return
    _show(asked, one)
    if explain:
        from colosse.cli.plan.explain import explained

        print()
        print("\n".join(explained(one, jobs.tasks_of(one))))


def _asked(
    path: Path | None,
    overrides: list[str],
    model: str,
    gpu: str,
    gpus: int,
    tokens: str,
    batch: str,
    seq_len: int,
    price: str,
    hardware: list[Path] | None,
) -> Asked:
    from colosse.core.errors import UserError
    from colosse.plan.hardware import catalogue
    from colosse.train.recipe import load_recipe

    if path is not None:
        if model or batch or seq_len or tokens:
            raise UserError(
                "a recipe says which model, batch and tokens",
                hint="leave out --model, --batch, --seq-len and --tokens, or set train.seq_len=... after it",
            )
        read = load_recipe(path, overrides)
    else:
        read = _imagined(model, gpus, tokens, batch, seq_len, overrides)
    read = _spread(read, gpus, fixed=any(word.startswith("layout.dp_shard=") for word in overrides))
    if path is None and not batch and not any(word.startswith("train.tokens_per_step=") for word in overrides):
        read = _whole_batch(read)
    known = catalogue(hardware or ())
    cluster = known.cluster(gpu, read.layout.world_size)
    name, table, _ = jobs.recipe_model(read)
    job, planned = jobs.recipe_job(read, cluster)
    total = planned if path is not None or tokens else 0.0
    return jobs.Asked(name, table, job, total, jobs.price_of(price, cluster, known), bool(price), known)


def _spread(read: Recipe, gpus: int, *, fixed: bool) -> Recipe:
    """The recipe on so many GPUs: data ranks that share weights make up for what its layout does not use.

    Raises:
        UserError: they cannot, or are `fixed`.
    """
    from colosse.core.errors import UserError

    layout = read.layout
    if not gpus or gpus == layout.world_size:
        return read
    rest, over = divmod(gpus, layout.world_size // layout.dp_shard)
    if fixed:
        layout.check_world(gpus)
    if over or rest < 1:
        axes = {name: getattr(layout, name) for name in ("pp", "dp_replicate", "cp", "tp")}
        ranks = " x ".join(f"{name} {number}" for name, number in axes.items() if number > 1)
        raise UserError(f"{gpus} GPUs are no multiple of the layout's {ranks}", param="gpus")
    return read.model_copy(update={"layout": layout.model_copy(update={"dp_shard": rest})})


def _whole_batch(read: Recipe) -> Recipe:
    """The recipe with the batch that its data ranks divide and that is nearest to the scaling law's."""
    layout, train = read.layout, read.train
    unit = layout.data_ranks * layout.micro_batch_size * train.seq_len
    tokens = unit * max(1, round(train.tokens_per_step / unit))
    return read.model_copy(update={"train": train.model_copy(update={"tokens_per_step": tokens})})


def _imagined(model: str, gpus: int, tokens: str, batch: str, seq_len: int, overrides: list[str]) -> Recipe:
    """The recipe that the options describe."""
    from colosse.core.config import load
    from colosse.core.errors import UserError
    from colosse.plan.quantities import parse_count
    from colosse.train.recipe import Recipe

    _, table, spec = jobs.model_of(model)
    if gpus < 1:
        raise UserError("on how many GPUs?", hint="--gpus 64", param="gpus")
    seq_len = seq_len or min(jobs.DEFAULT_SEQ_LEN, spec.max_seq_len)
    total = parse_count(tokens, name="--tokens") if tokens else 0.0
    sequences = jobs.sequences_of(batch, spec, seq_len=seq_len, tokens=total, gpus=gpus)
    settings: dict[str, Any] = {
        "name": "plan",
        **{f"model.{key}": value for key, value in table.items()},
        "train.seq_len": seq_len,
        "train.tokens_per_step": seq_len * sequences,
        "train.total_tokens": round(total),
    }
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"{override!r} changes nothing", hint="write it as layout.tp=8")
        settings[key.strip()] = value.strip()
    return load(Recipe, overrides=settings, override_origin="command").value


def _show(asked: Asked, one: Estimate) -> None:
    from colosse.cli.plan.explain import headline
    from colosse.core.numbers import big, count, duration, share, time_of
    from colosse.plan.search import summary, training_dollars, training_seconds

    job = asked.job
    print(f"{asked.name} on {count(job.cluster.gpus)} {job.cluster.gpu.name} ({job.cluster.node.name})")
    lines = [
        ("layout", summary(job.layout)),
        ("batch", f"{count(job.global_batch_size)} sequences of {count(job.seq_len)} tokens"),
        *headline(one),
    ]
    seconds, money = training_seconds(one, asked.tokens), training_dollars(one, asked.tokens, asked.price)
    failures = jobs.failures_of(asked, one)
    if seconds and failures:
        low, high = time_of(seconds.low), time_of(seconds.high)
        lines.append(("time", f"{time_of(seconds.value)} ({low} to {high}) for {big(asked.tokens)} tokens"))
        kept = f"{share(failures.ettr.value)} of the time is kept, checkpoint every {duration(failures.interval_s)}"
        lines.append(("", f"{time_of(86_400 * failures.days.value)} with failures: {kept}"))
    if money and failures:
        lines.append(("rent", jobs.rent(money, failures)))
    for word, value in lines:
        print(f"{word:<12}{value}")
    for caution in one.cautions:
        print(f"{'!':<12}{caution}")


def _fields(asked: Asked, one: Estimate) -> dict[str, Any]:
    from dataclasses import asdict

    from colosse.plan.search import training_dollars, training_seconds

    seconds, money = training_seconds(one, asked.tokens), training_dollars(one, asked.tokens, asked.price)
    failures = jobs.failures_of(asked, one)
    return {
        "model": asked.name,
        "gpu": asked.job.cluster.gpu.name,
        "node": asked.job.cluster.node.name,
        "gpus": asked.job.cluster.gpus,
        "seq_len": asked.job.seq_len,
        "global_batch_size": asked.job.global_batch_size,
        "tokens": asked.tokens or None,
        **jobs.estimate_fields(one),
        "training_s": asdict(seconds) if seconds else None,
        "training_usd": asdict(money) if money else None,
        "effective_training_time": asdict(failures.ettr) if failures else None,
        "days_with_failures": asdict(failures.days) if failures else None,
    }
