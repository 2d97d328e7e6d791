"""Whether an engine can serve: its health route, and what that does not tell."""

from http import HTTPStatus

from ollama_proxyd.core.errors import ENGINE_DEAD, ProxyError
from ollama_proxyd.edges.backends.engine import Engine
from ollama_proxyd.edges.backends.server import Server


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


async def settle(server: Server, engine: Engine, model: str) -> None:
    """Have a model in memory, where the health route does not wait for that; raises ProxyError."""
    refusal: ProxyError | None = None
    for each in engine.loading:
        try:
            await server.ask(each.path, each.body(model), is_patient=True)
        except ProxyError as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
            refusal = error  # the next way may be one for such a model
        else:
            return
    if refusal is not None:
        raise refusal
