"""Named shapes of models, and the choice of one in a recipe: a preset or one dial, with whatever is set besides."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any

from pydantic import Field, model_validator

from colosse.core.errors import NotFoundError, nearest
from colosse.spec import scaling
from colosse.spec.model import ModelSpec, whole


class Preset(ModelSpec):
    """A named shape and where it comes from."""

    source: str
    """The configuration file or paper that says so."""
    params: Annotated[int, Field(ge=0)] = 0
    """Parameters as published; 0 where nobody has."""

    @property
    def spec(self) -> ModelSpec:
        """The model alone."""
        return _plain(self)


class ModelChoice(ModelSpec):
    """The model of a recipe: a preset or a depth, and any field that is to differ from it.

    What is set explicitly wins, also inside `moe` and `rope_scaling`; so a choice that is written out and read again is
    the same choice.
    """

    preset: str = ""
    """Name in `presets.toml`."""
    depth: Annotated[int, Field(ge=0)] = 0
    """One dial: the number of layers, from which `scaling.shape` derives the rest; 0: not used."""
    flops: Annotated[float, Field(ge=0)] = 0.0
    """The dial as a budget: FLOPs of the training, to which `scaling.compute_optimal` fits a depth; 0: not used."""
    tokens: Annotated[float, Field(ge=0)] = 0.0
    """The dial as a budget of training tokens, likewise; 0: not used."""

    @model_validator(mode="before")
    @classmethod
    def _choose(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        name, depth = data.get("preset", ""), whole(data.get("depth", 0))
        if depth is None or depth < 0:
            raise ValueError(f"depth {data['depth']!r} is not a number of layers")
        budget = {key: _positive(key, data[key]) for key in ("flops", "tokens") if data.get(key)}
        said = [f"{key} {value}" for key, value in ({"preset": name, "depth": depth} | budget).items() if value]
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)} both say what the model is: give one")
        if budget:
            best = scaling.compute_optimal(flops=budget.get("flops", 0), tokens=budget.get("tokens", 0))
            depth = scaling.depth_for(best.params)
        if name:
            if name not in _tables():
                raise ValueError(f"unknown preset {name!r}: {nearest(str(name), _tables())}")
            base = {key: value for key, value in _tables()[name].items() if key not in ("source", "params")}
        elif depth:
            base = scaling.shape(depth)
        elif not data.keys() & {"dim", "num_layers", "num_heads"}:
            raise ValueError(
                "it says no model: set preset, depth, flops, tokens, or "
                "dim, num_layers, num_heads, ffn_dim and vocab_size"
            )
        else:
            return data
        return _filled(base, data)

    @property
    def spec(self) -> ModelSpec:
        """The model alone, without the way it was chosen."""
        return _plain(self)


def names() -> list[str]:
    """Names of all presets, in the order of the file: by family, smallest first."""
    return list(_tables())


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        NotFoundError: there is none; the nearest name is given.
    """
    if name not in _tables():
        raise NotFoundError(f"unknown preset {name!r}", hint=nearest(name, _tables()))
    return Preset.model_validate(_tables()[name])


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files(__package__).joinpath("presets.toml").read_text(encoding="utf-8"))


def _positive(key: str, value: Any) -> float:
    """A budget that may still be the text of an override."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{key} {value!r} is not a number above 0")
    return number


def _plain(spec: ModelSpec) -> ModelSpec:
    return ModelSpec.model_validate(spec.model_dump(include=set(ModelSpec.model_fields)))


def _filled(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with every value of `over` in its place, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _filled(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
