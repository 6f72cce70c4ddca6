"""From a train run, or from weights in another format, to weights that others read; and into the models served here."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_checkpoint

from colosse.core.config import load
from colosse.core.errors import NotFoundError, UserError
from colosse.core.progress import Progress
from colosse.core.settings import Settings, load_settings
from colosse.engines.catalogue import ModelEntry
from colosse.engines.store import InstalledModel, ModelStore
from colosse.model.gguf import load_gguf, load_tokenizer, save_gguf
from colosse.model.huggingface import load_hf, save_hf
from colosse.model.tokenizer_files import read_tokenizer
from colosse.model.weights import LazyState, check_shape, shapes
from colosse.spec.counts import params
from colosse.spec.model import ModelSpec
from colosse.train.checkpoint import Checkpoints
from colosse.train.manifest import folder_of
from colosse.train.recipe import Recipe

Format = Literal["hf", "gguf"]
FORMATS: tuple[Format, ...] = ("hf", "gguf")
DEFAULT_DTYPE: dict[Format, str] = {"hf": "bfloat16", "gguf": "float16"}
"""16 bits are what training computed with; llama.cpp is quick with float16 on every processor."""


@dataclass(frozen=True)
class Weights:
    """A model that can be written in any format.

    Attributes:
        name: what files and folders of it are called.
        spec: the model.
        state: its state dict; tensors are read when asked for.
        tokenizer: folder of its tokenizer.
        source: where it comes from, for people.
        note: one line about it.
    """

    name: str
    spec: ModelSpec
    state: LazyState
    tokenizer: Path
    source: str
    note: str


# -- where weights come from ----------------------------------------------------------------------------------------


def from_run(run_folder: Path, step: int | None = None, progress: Progress | None = None) -> Weights:
    """The weights in a checkpoint of a train run, on whatever mesh it was trained.

    Args:
        run_folder: the run's.
        step: of the checkpoint; None for the newest intact one.
        progress: is told of checkpoints that are passed over.

    Raises:
        NotFoundError: no run, no tokenizer in it or no checkpoint yet.
        UserError: the recipe or the checkpoint cannot be used.
    """
    recipe_file = run_folder / "recipe.toml"
    if not recipe_file.is_file():
        raise NotFoundError(f"{run_folder} is no train run: it has no recipe.toml")
    recipe = load(Recipe, files=[recipe_file]).value
    listener = progress or Progress()
    checkpoints = Checkpoints(run_folder / "checkpoints", keep=1, asynchronous=False, say=listener.note)
    if step is None:
        found = checkpoints.load_newest({})
        if found is None:
            raise NotFoundError(f"{run_folder} has no checkpoint yet", hint="colosse train makes one as it goes")
        step = found[0]
    else:
        checkpoints.load(step, {})
    # Rotary positions beyond the trained length mean nothing to the model, whatever its spec allows.
    length = min(recipe.model.max_seq_len, recipe.train.seq_len)
    spec = recipe.model.spec.model_copy(update={"max_seq_len": length})
    name = run_folder.resolve().name
    return Weights(
        name=name,
        spec=spec,
        state=_checkpoint_state(spec, folder_of(run_folder / "checkpoints", step)),
        tokenizer=run_folder / "tokenizer",
        source=f"train run {name}",
        note=f"trained here, step {step}: it continues text",
    )


def _checkpoint_state(spec: ModelSpec, folder: Path) -> LazyState:
    """The model's tensors in a checkpoint, each read by itself: an export needs no memory for the whole model."""
    reader = FileSystemReader(folder)
    stored = {
        name.removeprefix("model."): tuple(about.size)
        for name, about in reader.read_metadata().state_dict_metadata.items()
        if name.startswith("model.") and isinstance(about, TensorStorageMetadata)
    }
    readers: dict[str, Callable[[], Tensor]] = {}
    for name, shape in shapes(spec).items():
        source = "embed.weight" if name == "head.weight" and spec.tied_embeddings else name
        if source not in stored:
            raise UserError(f"the checkpoint {folder} has no {source!r}", hint="it is of another recipe")
        check_shape(source, stored[source], shape, folder)
        readers[name] = partial(_read_tensor, folder, source, shape)
    return LazyState(readers)


def _read_tensor(folder: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = torch.empty(shape, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        load_checkpoint({"model": {name: tensor}}, storage_reader=FileSystemReader(folder), no_dist=True)
    return tensor


@contextmanager
def from_files(path: Path) -> Iterator[Weights]:
    """Weights in a Hugging Face folder or a GGUF file.

    Raises:
        NotFoundError: there is nothing, or a file of it is missing.
        UserError: it cannot be read; says why.
    """
    place = path.expanduser().absolute()
    name = re.sub(r"-\d+-of-\d+$", "", place.stem) if place.suffix == ".gguf" else place.name
    with tempfile.TemporaryDirectory(prefix="colosse-") as scratch:
        tokenizer = place
        if place.suffix == ".gguf":
            spec, state = load_gguf(place)
            tokenizer = Path(scratch)
            load_tokenizer(place, tokenizer)
        else:
            spec, state = load_hf(place)
        yield Weights(name, spec, state, tokenizer, str(place), "")


# -- where they go --------------------------------------------------------------------------------------------------


def write(weights: Weights, form: Format, out: Path, dtype: str = "", progress: Progress | None = None) -> str:
    """Write weights at `out`, complete or not at all.

    Args:
        weights: from `from_run` or `from_files`.
        form: `hf` makes a folder, `gguf` a file.
        out: must not exist (an empty folder may).
        dtype: `float32`, `bfloat16`, `float16`, for GGUF also `q8_0`; empty: `DEFAULT_DTYPE`.
        progress: hears of the bytes written.

    Returns:
        The family (`hf`) or llama.cpp's architecture (`gguf`) that it is written as.

    Raises:
        UserError: the format cannot hold such a model or tokenizer.
        ConflictError: there is something at `out`.
        DiskFullError: there is no room.
    """
    dtype = dtype or DEFAULT_DTYPE[form]
    if form == "hf":
        return save_hf(out, weights.spec, weights.state, weights.tokenizer, dtype, progress)
    return save_gguf(out, weights.spec, weights.state, weights.tokenizer, dtype, name=weights.name, progress=progress)


def install(weights: Weights, settings: Settings, dtype: str = "", progress: Progress | None = None) -> InstalledModel:
    """Put weights as GGUF among the installed models, where `colosse models`, `chat` and `serve` find them.

    A later export of the same run takes the place of an earlier one.

    Raises:
        UserError: llama.cpp has no such model or tokenizer.
        ConflictError: another model has the name.
        DiskFullError: there is no room.
    """
    counted = params(weights.spec)
    entry = ModelEntry(
        id=model_id(weights.name),
        title=weights.name,
        parameters=counted.total,
        active_parameters=counted.active if weights.spec.moe else 0,
        capabilities=["chat", "completions"] if read_tokenizer(weights.tokenizer).chat_template else ["completions"],
        note=weights.note,
    )

    def make(path: Path) -> None:
        write(weights, "gguf", path, dtype, progress)

    return ModelStore(settings).install(entry, make, weights.source)


def model_id(name: str) -> str:
    """The name of a model made from any name: lower case, without spaces and signs that an address could not hold.

    Raises:
        UserError: nothing is left of it.
    """
    found = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:80]
    if not found:
        raise UserError(f"{name!r} cannot be the name of a model", hint="give the folder or file another name")
    return found


def export_run(
    run_folder: Path,
    step: int | None,
    form: Format,
    out: Path | None = None,
    dtype: str = "",
    progress: Progress | None = None,
) -> Path:
    """Write the weights of a train run.

    Args:
        run_folder: the run's.
        step: of the checkpoint; None for the newest intact one.
        form: `hf` or `gguf`.
        out: where; None: the run's name in the current folder.
        dtype: see `write`.
        progress: hears how it goes.

    Returns:
        The folder or file written.

    Raises:
        ColosseError: see `from_run` and `write`.
    """
    weights = from_run(run_folder, step, progress)
    target = out or default_place(weights, form)
    write(weights, form, target, dtype, progress)
    return target


def default_place(weights: Weights, form: Format) -> Path:
    """Where weights go if nobody says: their name in the current folder."""
    return Path.cwd() / (f"{weights.name}.gguf" if form == "gguf" else weights.name)


def publish_run(run_folder: Path, progress: Progress | None = None) -> str:
    """Make a finished run a model that is served here: its newest intact checkpoint as GGUF among the installed models.

    Returns:
        The model's name, for `colosse chat --model NAME` and the API.

    Raises:
        ColosseError: see `from_run` and `install`.
    """
    return install(from_run(run_folder, None, progress), load_settings().value, progress=progress).id
