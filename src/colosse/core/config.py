"""Configuration: frozen models filled from TOML files, environment and dotted overrides, remembering who set what.

Order, weakest first: defaults, files in the order given, environment, overrides. Every key that no model knows is
refused with the nearest one that it knows and the place it was written in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from colosse.core.errors import UserError, nearest

DEFAULT = "default"


class Config(BaseModel):
    """Base of every configuration model: immutable, refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


ConfigT = TypeVar("ConfigT", bound=Config)


@dataclass(frozen=True)
class Loaded(Generic[ConfigT]):
    """A validated configuration and where each of its values came from.

    Attributes:
        value: the configuration.
        origins: dotted key to origin, only for keys that something other than a default set.
    """

    value: ConfigT
    origins: dict[str, str]

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted key, value, origin) for every leaf, in declaration order; secrets stay masked."""
        for key, value in _leaves(self.value):
            yield key, value, self.origins.get(key) or self.origins.get(key.split(".")[0], DEFAULT)


def load(
    model: type[ConfigT],
    *,
    files: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
    env_prefix: str = "",
    overrides: Mapping[str, object] | None = None,
    override_origin: str = "flag",
) -> Loaded[ConfigT]:
    """Fill `model` from `files`, then `env`, then `overrides`.

    Args:
        model: the configuration model.
        files: TOML files that exist; a later one wins.
        env: environment; `PREFIX_PORT` sets `port`, `PREFIX_ENGINE__THREADS` sets `engine.threads`.
        env_prefix: such as `COLOSSE`; empty reads nothing from `env`.
        overrides: dotted key to value; text is converted by the field's type, `[..]` and `{..}` are TOML.
        override_origin: what `origins` says of the overrides.

    Raises:
        UserError: an unreadable file, an unknown key or an invalid value, with its place and the nearest valid one.
    """
    data: dict[str, Any] = {}
    origins: dict[str, str] = {}

    for path in files:
        _merge(data, _read_toml(path), origins, f"file {path}")
    for name, text in sorted((env or {}).items()):
        if env_prefix and name.startswith(f"{env_prefix}_"):
            key = name[len(env_prefix) + 1 :].lower().replace("__", ".")
            _merge(data, _nested(key, _parse(text)), origins, f"environment {name}")
    for key, value in (overrides or {}).items():
        _merge(data, _nested(key, _parse(value)), origins, override_origin)

    _refuse_unknown(model, data, origins, "")
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        raise _as_user_error(error, origins) from None
    return Loaded(value, origins)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}", hint="mend the file or move it away") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}", hint="check the path and its permissions") from None


def _parse(value: object) -> object:
    """Text that looks like a TOML array or table becomes one; pydantic converts the rest by the field's type."""
    if isinstance(value, str) and value[:1] in "[{" and value:
        try:
            return tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{value!r} is not a valid TOML value: {error}") from None
    return value


def _nested(key: str, value: object) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)  # noqa: S101 - a key has at least one part
    return value


def _merge(
    into: dict[str, Any], new: Mapping[str, Any], origins: dict[str, str], origin: str, prefix: str = ""
) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping):
            below = into.setdefault(key, {})
            if not isinstance(below, dict):
                below = into[key] = {}
            _merge(below, value, origins, origin, f"{prefix}{key}.")
        else:
            into[key] = value
            origins[f"{prefix}{key}"] = origin


def _refuse_unknown(model: type[BaseModel], data: Mapping[str, Any], origins: Mapping[str, str], prefix: str) -> None:
    for key, value in data.items():
        field = model.model_fields.get(key)
        if field is None:
            raise UserError(
                f"unknown setting '{prefix}{key}' ({_origin(f'{prefix}{key}', origins)})",
                hint=nearest(key, model.model_fields),
                code="unknown_setting",
                param=prefix + key,
            )
        below = _model_in(field.annotation)
        if below is not None and isinstance(value, Mapping):
            _refuse_unknown(below, value, origins, f"{prefix}{key}.")
        elif below is not None and isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    _refuse_unknown(below, item, origins, f"{prefix}{key}.{index}.")


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model that a field holds: itself, one or none of it, or a list of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Who set `key`, something below it or the table or list that it stands in."""
    for other, origin in origins.items():
        if f"{other}.".startswith(f"{key}.") or f"{key}.".startswith(f"{other}."):
            return origin
    return DEFAULT


def _as_user_error(error: ValidationError, origins: Mapping[str, str]) -> UserError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return UserError(f"invalid setting '{key}' ({_origin(key, origins)}): {message}", code="invalid_setting", param=key)


def _leaves(config: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
