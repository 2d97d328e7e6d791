"""Parts of the daemon that need further packages, imported only where they are switched on."""

from importlib import import_module
from typing import Any

from ollama_proxyd.core.errors import ErrorKind, ProxyError


def part(module: str, option: str, extra: str) -> Any:
    """The module of a part that an option switches on; raises ProxyError where a package of the extra is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        message = (
            f"{option} is set, and the Python package {error.name} is not installed; install "
            f"ollama-proxyd[{extra}], or remove {option} from the configuration"
        )
        raise ProxyError(ErrorKind.UNAVAILABLE, message, code=f"{extra}_missing") from error
