"""Whether an engine can serve: its health route, and what that does not tell."""

from http import HTTPStatus
from typing import Final

from ollama_proxyd.core.errors import ENGINE_DEAD, ProxyError
from ollama_proxyd.edges.backends.engine import Engine
from ollama_proxyd.edges.backends.server import Server, is_loading

LONGEST_S: Final = 24 * 3600.0
"""A load may take longer than an answer may; who waits for it bounds that by start_timeout_s."""


async def health(server: Server, engine: Engine) -> None:
    """Ask its health route, where it has one; raises ProxyError, with ENGINE_DEAD where only a new process helps."""
    if engine.health is None:
        return
    try:
        await server.ask(engine.health)
    except ProxyError as error:
        if engine.dies and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise error.but(code=ENGINE_DEAD) from error
        raise


def is_down(error: ProxyError, engine: Engine, *, was_healthy: bool) -> bool:
    """Whether what its health route says is to be believed, though it lists its models; it may have died loading."""
    return was_healthy or is_loading(error) or (bool(engine.loading) and error.code == ENGINE_DEAD)


async def settle(server: Server, engine: Engine, model: str) -> None:
    """Have a model in memory, where the health route does not wait for that; raises ProxyError."""
    refusal: ProxyError | None = None
    for each in engine.loading:
        try:
            await server.ask(each.path, each.body(model), within_s=LONGEST_S)
        except ProxyError as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
            refusal = error  # the next way may be one for such a model
        else:
            return
    if refusal is not None:
        raise refusal
