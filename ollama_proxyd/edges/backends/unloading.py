"""How an engine is had to let go of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from ollama_proxyd.core.errors import IN_USE, ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends.server import Server
from ollama_proxyd.edges.backends.untrusted_json import items, truth


@dataclass(frozen=True, slots=True)
class Unloading:
    """The request that unloads.

    path, body: what is posted for a model. slots: where an engine that would cut off answers tells what is under way;
    the model's name takes the place of the braces.
    """

    path: str
    body: Callable[[str], Mapping[str, Json]]
    slots: str | None = None


async def unload(server: Server, how: Unloading, model: str) -> None:
    """Have a model unloaded; raises ProxyError, with the code IN_USE where it works for another program."""
    if how.slots is not None:
        told = await server.fetch(how.slots.format(quote(model, safe="")))
        if any(truth(each, "is_processing") for each in items({"slots": told}, "slots")):
            message = f"{server.who} works with {model!r} for another program"
            raise ProxyError(ErrorKind.UPSTREAM_REJECTED, message, status=409, code=IN_USE)
    await server.fetch(how.path, how.body(model))
