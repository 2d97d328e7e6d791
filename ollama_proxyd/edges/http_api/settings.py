"""The numbers and names that the HTTP server is configured with."""

from dataclasses import field
from typing import Annotated, TypeAlias

from ollama_proxyd.core.addresses import HostName, SocketPath
from ollama_proxyd.core.options import Like, Option, Positive, Within
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.access import EVERYWHERE, OtherUsers

ListenHost: TypeAlias = Annotated[str, Like("^[A-Za-z0-9.:_-]+$", "a host name or an address without brackets")]
WebOrigin: TypeAlias = Annotated[
    str,
    Like(
        "^([a-z][a-z0-9+.-]*://[A-Za-z0-9._:\\[\\]-]+"
        "|(app|capacitor|chrome-extension|moz-extension|safari-web-extension|tauri|vscode-webview)://[*]"
        "|https?://(localhost|127[.]0[.]0[.]1|\\[::1\\]):[*])$",
        "an origin such as https://chat.example.org, or a pattern: chrome-extension://*, moz-extension://*, app://*, "
        "vscode-webview://*, tauri://*, http://localhost:*",
    ),
]


def client_url(host: str, port: int) -> str:
    """Where a client on this machine finds a server that listens on this host."""
    shown = EVERYWHERE.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


@value
class ServerSettings:
    """Where the server listens, whom it lets in, and how much it takes at once."""

    host: Annotated[
        ListenHost, Option("server.", "The address to listen on; beyond this machine, auth is required.", reload=False)
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Within(0, 65535),
        Option("server.http_port", "The TCP port to listen on; 0 picks a free one.", reload=False),
    ] = 8080
    allowed_hosts: Annotated[
        tuple[HostName, ...],
        Option(
            "server.",
            "Allowed Host names, in addition to localhost, 127.0.0.1 and [::1].",
            read=lambda hosts: tuple(host.lower() for host in hosts),
        ),
    ] = ()
    token: str | None = field(default=None, repr=False)
    """What a client must present as `Authorization: Bearer …`, None where nothing is asked for."""
    max_body_bytes: Annotated[
        int, Within(1024, 2**31), Option("server.", "The largest request, in bytes; a larger one is refused.")
    ] = 32 * 1024 * 1024
    """By default as large as Anthropic's: to copy more takes one step of C that other requests wait for."""
    max_bodies_bytes: Annotated[
        int,
        Within(65536, 2**36),
        Option("server.", "The limit of the bodies of all requests in memory, in bytes; a further one is refused."),
    ] = 256 * 1024 * 1024
    body_timeout_s: Annotated[
        float,
        Within(1, 3600),
        Option("server.", "Seconds in which a request's body is to arrive, at 1 KiB/s or more after the first 10."),
    ] = 60.0
    keep_alive_s: Annotated[
        Positive, Option("server.", "Seconds that an idle client connection stays open.", reload=False)
    ] = 75.0
    drain_s: Annotated[
        float,
        Within(0, 3600),
        Option("server.", "Seconds for running requests to finish when the daemon stops.", reload=False),
    ] = 20.0
    names_programs: Annotated[
        bool, Option("privacy.programs", "Whether the books name the program that asked, where this machine tells it.")
    ] = True
    pull_to: Annotated[
        str | None,
        Option("routing.", "The id of the Ollama that keeps new models, where there are several; null: the cheapest."),
    ] = None
    serve_metrics: Annotated[
        bool, Option("monitoring.enabled", "Whether GET /metrics serves Prometheus metrics.", reload=False)
    ] = True
    allowed_origins: Annotated[
        tuple[WebOrigin, ...],
        Option(
            "server.", "Allowed origins of web pages and browser extensions; `moz-extension://*` allows all extensions."
        ),
    ] = ()
    other_users: Annotated[
        OtherUsers, Option("server.", "Whether other users of this machine than this one and root are served.")
    ] = OtherUsers.REFUSE
    unix_socket: Annotated[
        SocketPath | None,
        Option(
            "server.",
            "A further Unix socket, for the owner only: an absolute path, ~/path, or a name in $XDG_RUNTIME_DIR.",
            reload=False,
        ),
    ] = None
    idle_exit_s: Annotated[
        Annotated[float, Within(1, 86_400)] | None,
        Option(
            "server.",
            "Idle seconds until exit, where systemd holds the sockets and starts the daemon again; null: never.",
            reload=False,
        ),
    ] = None
