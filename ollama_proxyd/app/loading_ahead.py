"""Loads a model that nobody has asked for yet, by the way of a request."""

from contextlib import aclosing

import msgspec

from ollama_proxyd.core.prewarm import OWN_PROGRAM
from ollama_proxyd.core.programs import Asker, KnownBy, Program
from ollama_proxyd.core.requests import Hints, Priority
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.dialects.ollama.parse import parse_generate
from ollama_proxyd.services.gateway import Gateway

_OURS = Asker(Program(OWN_PROGRAM, KnownBy.EXECUTABLE))


async def load_ahead(gateway: Gateway, model: str, backend_id: str) -> None:
    """Have a backend load a model, behind all that people wait for; raises ProxyError."""
    hints = Hints(target=backend_id, priority=Priority.BEST_EFFORT, asker=_OURS)
    body = msgspec.json.encode({"model": model, "stream": False})
    request = received(body, lambda whole: parse_generate(whole, hints))
    async with aclosing(gateway.answer(request)) as events:
        async for _ in events:
            pass
