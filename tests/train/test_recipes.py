"""The recipes for GPUs: what they promise holds, and a step of their layouts runs dry, on tensors without memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from colosse.spec import counts
from colosse.spec.memory import memory
from colosse.train.recipe import load_recipe, resolve

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(path.stem for path in FOLDER.glob("*gpu.toml"))
GPU_BYTES = 80e9
"""Of an H100."""


def test_there_is_one_for_every_size() -> None:
    sizes = {int(match[1]) for name in RECIPES if (match := re.search(r"-(\d+)gpu$", name))}
    assert sizes == {1, 8, 512, 16384}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_what_its_name_says_and_fits(name: str) -> None:
    recipe = load_recipe(FOLDER / f"{name}.toml")
    resolved = resolve(recipe)
    assert recipe.name == name
    assert name.endswith(f"-{recipe.layout.world_size}gpu")
    assert recipe.data.tokenizer.vocab_size <= resolved.spec.vocab_size
    assert recipe.train.seq_len <= resolved.spec.max_seq_len
    assert resolved.total_tokens >= 15 * resolved.params.active
    needed = memory(resolved.spec, recipe.layout, seq_len=recipe.train.seq_len, micro_batches=resolved.grad_accum_steps)
    assert needed.total < 0.8 * GPU_BYTES  # the rest: collectives, fragments, the device's context


def test_the_largest_is_as_published() -> None:
    recipe = load_recipe(FOLDER / "llama3-405b-16384gpu.toml")
    resolved = resolve(recipe)
    layout = recipe.layout
    # arXiv:2407.21783, table 4: tensor 8, context 1, pipeline 16, data 128; 16 sequences of 8,192 a data rank.
    assert (layout.tp, layout.cp, layout.pp, layout.data_ranks) == (8, 1, 16, 128)
    assert (recipe.train.seq_len, resolved.grad_accum_steps, resolved.lr) == (8192, 16, 8e-5)
    assert resolved.total_flops == pytest.approx(3.8e25, rel=0.05)


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], Any]]:
    """Build a recipe's model as one of its ranks sees it: collectives do nothing, and tensors have no memory."""
    torch = pytest.importorskip("torch")
    import torch.distributed as dist
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
    from torch.distributed.pipelining import schedules
    from torch.distributed.pipelining.stage import InferenceMode
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from colosse.model import loss
    from colosse.parallel import apply
    from colosse.parallel.mesh import Mesh

    fake = FakeTensorMode(allow_non_fake_inputs=True)

    def imagine(part: Any, device: Any, seed: int) -> None:
        with fake:
            part.to_empty(device=device)
        if part.spec.tied_embeddings and part.embed is not None and part.head is not None:
            part.head.weight = part.embed.weight

    def agree(_schedule: Any, stages: Any, *_: Any) -> None:
        for stage in stages:
            stage._inference_mode = InferenceMode.STATIC

    def scale(ctx: Any, *gradients: Any) -> Any:
        return ctx.gradient * gradients[0][0], None, None

    monkeypatch.setattr(apply, "materialise", imagine)
    # What else would look at a value: stages that agree over the network, and a gradient that is usually one.
    monkeypatch.setattr(schedules._PipelineSchedule, "_warmup_p2p", agree)
    monkeypatch.setattr(loss._Given, "backward", staticmethod(scale))
    monkeypatch.setattr(loss, "chunk_tokens", lambda vocab_size, device: 2**27 // vocab_size)

    def build(name: str, rank: int, num_layers: int = 0) -> Any:
        recipe = load_recipe(FOLDER / f"{name}.toml")
        layout = recipe.layout.model_copy(update={"compile": "off"})
        resolved = resolve(recipe)
        spec = resolved.spec.model_copy(update={"num_layers": num_layers or resolved.spec.num_layers})
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=layout.world_size)
        mesh = Mesh(layout, torch.device("cpu"))
        model = apply.build(spec, layout, mesh, seq_len=recipe.train.seq_len, seed=0)

        def step() -> Any:
            if spec.moe is not None:  # how many tokens each expert has is a value too: as many as every other
                rows = layout.micro_batch_size * recipe.train.seq_len * spec.moe.top_k_experts
                monkeypatch.setattr(FakeTensor, "tolist", lambda x: [rows // x.numel()] * x.numel(), raising=False)
                monkeypatch.setattr(FakeTensor, "repeat_interleave", lambda x, _: x.new_empty(rows), raising=False)
            with fake:
                tokens = torch.zeros(layout.micro_batch_size, recipe.train.seq_len, dtype=torch.int64)
                batch = SimpleNamespace(tokens=tokens, targets=tokens, documents=None, positions=None)
                sums = model.train_step([batch] * (1 if layout.pp == 1 else resolved.grad_accum_steps))
                return sums, model.finish_gradients(1.0, 1.0)

        return SimpleNamespace(spec=spec, layout=layout, model=model, step=step)

    yield build
    if dist.is_initialized():
        dist.destroy_process_group()
    torch._C._clear_DTensor_sharding_propagator_cache()  # of meshes like the next one, with groups that are gone


@pytest.mark.torch
@pytest.mark.parametrize("name", RECIPES)
def test_a_rank_holds_its_slice_of_the_parameters(name: str, dry: Any) -> None:
    built = dry(name, 0)
    layout = built.layout
    stages = [
        layers for number, layers in enumerate(layout.stage_layers(built.spec.num_layers)) if number % layout.pp == 0
    ]
    whole = sum(
        (counts.params(built.spec, layers=layers, first=False, last=False) for layers in stages),
        counts.params(built.spec, layers=range(0), last=layout.pp == 1),
    )
    held = sum(
        (parameter.to_local() if hasattr(parameter, "to_local") else parameter).numel()
        for _, parameter in built.model.named_parameters()
    )
    # Tensor ranks each hold the norms, and slices are rounded up.
    assert held == pytest.approx(whole.total / (layout.dp_shard * layout.cp * layout.tp), rel=1e-3)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module:UserWarning")
@pytest.mark.parametrize(
    ("name", "rank", "num_layers"),
    [
        ("1b-1gpu", 0, 2),
        ("3b-8gpu", 7, 2),
        ("llama3-70b-512gpu", 100, 2),
        ("qwen3-30b-a3b-512gpu", 511, 2),
        ("llama3-405b-16384gpu", 16383, 64),
    ],
)
def test_a_step_runs_dry(name: str, rank: int, num_layers: int, dry: Any) -> None:
    built = dry(name, rank, num_layers)  # fewer layers, but every stage; sizes and ranks as they are
    sums, norm = built.step()
    assert sums.shape == (2,)
    assert norm.shape == ()
    assert all(parameter.grad is not None for _, parameter in built.model.named_parameters())
