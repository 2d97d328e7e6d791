"""Finds the running daemon: on the session bus, else over HTTP."""

import os

from ollama_proxyd.cli.failures import Unreachable
from ollama_proxyd.cli.port import Daemon

HOW_TO_START = "start it with: ollama-proxyd"


def reach(url: str | None, *, start: bool) -> Daemon:
    """The daemon at an address, or wherever it is; only `start` lets the bus start one. Raises Unreachable."""
    if url is not None:
        return over_http(url)
    address = bus_address()
    if address is None:
        return over_http(default_url(), "there is no session bus")
    from ollama_proxyd.cli.over_dbus import BusDaemon  # noqa: PLC0415

    try:
        return BusDaemon.connect(address, start=start)
    except Unreachable as error:
        return over_http(default_url(), error.message)


def over_http(url: str, not_on_the_bus: str | None = None) -> Daemon:
    """The daemon at an address, once it has answered there."""
    from ollama_proxyd.cli.over_http import HttpDaemon  # noqa: PLC0415 - 20 ms that most commands need not wait for

    try:
        return HttpDaemon.connect(url, token())
    except Unreachable as error:
        where = f"{not_on_the_bus}, and " if not_on_the_bus else ""
        raise Unreachable(f"{where}{error.message}; {HOW_TO_START}") from None


def token() -> str | None:
    """What a daemon that asks for a token is shown over HTTP."""
    return os.environ.get("OLLAMA_PROXY_TOKEN")


def bus_address() -> str | None:
    """Where the session bus is, None where there is none."""
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    path = f"{runtime}/bus" if runtime else ""
    return f"unix:path={path}" if path and os.path.exists(path) else None  # noqa: PTH110 - pathlib costs 10 ms


def default_url() -> str:
    """Where the daemon listens unless a configuration file says otherwise."""
    host = os.environ.get("OLLAMA_PROXY_HOST") or "127.0.0.1"
    return f"http://{host}:{os.environ.get('OLLAMA_PROXY_HTTP_PORT') or '8080'}"
