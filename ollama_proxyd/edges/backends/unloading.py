"""How an engine is had to load a model or let go of it, and what answers for one that has no such request."""

from collections.abc import AsyncGenerator, Callable, Mapping
from urllib.parse import quote

from ollama_proxyd.core.errors import IN_USE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Event, Finished, FinishReason
from ollama_proxyd.core.requests import Json, LoadAction, Request
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.backends.server import Server
from ollama_proxyd.edges.backends.untrusted_json import items, truth

_LOAD_REASONS = {LoadAction.LOAD: FinishReason.LOAD, LoadAction.UNLOAD: FinishReason.UNLOAD}


@value
class Unloading:
    """The request that unloads.

    path, body: what is posted for a model. slots: where an engine that would cut off answers tells what is under way.
    loads: what is asked so that the model is loaded, and answered once it is; None where a load asks for nothing.
    The model's name takes the place of the braces.
    """

    path: str
    body: Callable[[str], Mapping[str, Json]]
    slots: str | None = None
    loads: str | None = None


@value
class Loading:
    """A request that loads: what is posted for a model, and where."""

    path: str
    body: Callable[[str], Mapping[str, Json]]


async def unload(server: Server, how: Unloading, model: str) -> None:
    """Have a model unloaded; raises ProxyError, with the code IN_USE where it works for another program."""
    if await works(server, how, model):
        message = f"{server.who} works with {model!r} for another program"
        raise ProxyError(ErrorKind.UPSTREAM_REJECTED, message, status=409, code=IN_USE)
    await server.fetch(how.path, how.body(model))


async def works(server: Server, how: Unloading, model: str) -> bool:
    """Whether answers are under way, where the engine tells."""
    if how.slots is None:
        return False
    told = await server.fetch(how.slots.format(quote(model, safe="")))
    return any(truth(each, "is_processing") for each in items({"slots": told}, "slots"))


async def load_only(server: Server, how: Unloading | None, request: Request, model: str) -> AsyncGenerator[Event, None]:
    """The answer to a request that only loads or unloads a model, for an engine whose API has no such request."""
    action = request.load_action or LoadAction.LOAD
    if action is LoadAction.LOAD and how is not None and how.loads is not None:
        await server.fetch(how.loads.format(quote(model, safe="")), is_patient=True)
    ignored = tuple(name for name in ("keep_alive",) if name in request.content().options.known)
    yield Accepted(ignored)
    yield Finished(_LOAD_REASONS[action])
