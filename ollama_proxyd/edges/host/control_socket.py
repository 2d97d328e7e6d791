"""The path of the control socket; a module of its own, so that a command loads nothing else of the daemon."""

from collections.abc import Mapping

PATH = "ollama-proxyd/ollama-proxyd.sock"
"""In the runtime folder; systemd/ollama-proxyd.socket has the same."""


def control_socket(environ: Mapping[str, str]) -> str | None:
    """The path, None without a runtime folder."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime}/{PATH}" if runtime.startswith("/") else None
