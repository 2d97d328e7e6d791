"""The numbers and names that the HTTP server is configured with."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens, whom it lets in, and how much it takes at once.

    `host` is a name or an address without brackets. `allowed_hosts` are accepted in the Host header besides
    localhost, 127.0.0.1 and [::1]; names without a port. `token` is what a client must present as
    `Authorization: Bearer …`, None where nothing is asked for. `keep_alive_s` is how long an idle client
    connection stays open, `drain_s` how long running requests get when the server stops.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    max_body_bytes: int = 64 * 1024 * 1024
    keep_alive_s: float = 75.0
    drain_s: float = 20.0
    serve_metrics: bool = True
    allowed_origins: tuple[str, ...] = ()
    """Web pages and browser extensions that may use the server, as their browser writes them in the Origin header."""
    unix_socket: str | None = None
    """A socket file to listen on as well."""
    idle_exit_s: float | None = None
    """After how long without use the daemon ends, where something starts it again."""
