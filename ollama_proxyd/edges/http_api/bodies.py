"""The memory that the bodies of all requests take, and how many bodies are on their way."""

from typing import Final, Self

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.services.cell import Topic

RETRY_S: Final = 1.0
_HELD: web.RequestKey[int] = web.RequestKey("body_bytes", int)


class Bodies:
    """Bodies in memory; as a context, one request whose body is on its way."""

    def __init__(self) -> None:
        self.held_bytes = 0
        """The bytes that are held for bodies, those that are announced included."""
        self.arriving = 0
        """How many requests have been let in and are not yet under way, since their bodies are read."""
        self.refused: Topic[str] = Topic()
        """Why each body was refused: the code of the error, else its kind."""

    def __enter__(self) -> Self:
        self.arriving += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.arriving -= 1

    def hold(self, request: web.Request, size_bytes: int, most_bytes: int) -> None:
        """Hold so much for a request's body in all; ProxyError where all bodies together would exceed the limit."""
        more_bytes = size_bytes - request.get(_HELD, 0)
        if more_bytes <= 0:
            return
        if self.held_bytes + more_bytes > most_bytes:
            message = (
                f"the bodies of all requests would exceed {most_bytes} bytes, the most that server.max_bodies_bytes "
                "allows; try again"
            )
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="bodies_full", retry_after_s=RETRY_S)
        request[_HELD] = size_bytes
        self.held_bytes += more_bytes

    def let_go(self, request: web.Request) -> None:
        """Give back what is held for a request that ends."""
        self.held_bytes -= request.get(_HELD, 0)


BODIES: web.AppKey[Bodies] = web.AppKey("bodies", Bodies)
