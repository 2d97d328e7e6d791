"""Whether an engine can serve: its health route, and what that does not tell."""

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
        if engine.dies and error.status == 503:
            raise error.but(code=ENGINE_DEAD) from error
        raise


async def settle(server: Server, engine: Engine, model: str) -> None:
    """Wait until a model is in memory, by one token of it where the health route does not wait for that."""
    if engine.loads_late:
        asked = {"model": model, "prompt": "a", "max_tokens": 1}
        await server.ask(f"{engine.openai_base}/completions", asked, is_patient=True)
