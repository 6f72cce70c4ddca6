"""Where a server is: taking its port, and telling other processes how to find it.

While a server runs, `$COLOSSE_HOME/run/server.json` says where: the command line uses it. The file of one that died is
recognised, since nothing answers at its address with its instance id.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from colosse.core.errors import ConflictError, UserError
from colosse.core.files import write_atomic
from colosse.core.settings import Settings

_PROBE_S = 2.0


@dataclass(frozen=True)
class RunningServer:
    """A server as `server.json` tells it."""

    pid: int
    url: str
    instance: str
    started_at: str


def server_file(settings: Settings) -> Path:
    """Where a server of this home says that it runs."""
    return settings.run_dir / "server.json"


def find_server(settings: Settings) -> RunningServer | None:
    """The server that runs on this home, if one answers."""
    try:
        server = RunningServer(**json.loads(server_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return server if _answers(server) else None


def url_of(host: str, port: int) -> str:
    """The address to open for a server bound to `host`: one that a browser on this machine can reach."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.strip("[]"))
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "[::1]"
        elif address.version == 6:
            host = f"[{address}]"
    return f"http://{host}:{port}"


def bind(settings: Settings) -> socket.socket:
    """Take the port, before anything slow begins.

    Raises:
        ConflictError: a server of ours runs on this home, or somebody else has the port; says who and what to do.
        UserError: the address is not this machine's, or the port needs rights.
    """
    running = find_server(settings)
    if running is not None:
        raise ConflictError(
            f"Colosse is already running at {running.url} (process {running.pid})",
            hint="open that, stop it, or give this one another COLOSSE_HOME",
            code="already_running",
        )
    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"cannot serve on {settings.host!r}: {error.strerror}", param="host") from None
    try:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(2048)
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"port {settings.port} on {settings.host} is taken{_by_whom(settings.port)}",
                hint="stop that, or choose another with --port (0 takes any free one)",
                code="port_taken",
                param="port",
            ) from None
        hint = "ports below 1024 need rights: choose another with --port" if error.errno == errno.EACCES else ""
        raise UserError(
            f"cannot serve on {settings.host}:{settings.port}: {error.strerror}", hint=hint, param="host"
        ) from None
    taken.setblocking(False)
    return taken


@contextlib.contextmanager
def announced(settings: Settings, instance: str, started_at: str) -> Iterator[None]:
    """Keep `server.json` while the block runs."""
    path = server_file(settings)
    server = RunningServer(os.getpid(), url_of(settings.host, settings.port), instance, started_at)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(asdict(server)).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _answers(server: RunningServer) -> bool:
    """Whether that very start of the server is the one at its address."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_PROBE_S)
    try:
        connection.request("GET", "/health")
        body = json.loads(connection.getresponse().read(10_000))
        return isinstance(body, dict) and body.get("instance") == server.instance
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _by_whom(port: int) -> str:
    """` by python3 (process 123)` where this machine lets us see it."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
