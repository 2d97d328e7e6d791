"""A backend of a paired machine: asked through the daemon there, whose word on its health counts."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.fleet import BackendSpec, Probe
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.way import Way


class SharedBackend:
    """See `services.ports.Backend`. told: what the other machine said last, once it was looked for.

    It raises ProxyError where nothing is shared.

    Its files, and what stays in its memory, are the other machine's own to decide.
    """

    can_keep = can_unload = can_manage = False

    def __init__(self, spec: BackendSpec, client: HttpClient, way: Way, told: Callable[[], Awaitable[Probe]]) -> None:
        self._inner = EngineBackend(spec, client, way=way)
        self._told = told

    @property
    def spec(self) -> BackendSpec:
        """What this backend is."""
        return self._inner.spec

    def manage(self, asked: Management) -> AsyncGenerator[Managed | bytes, None]:  # noqa: ARG002
        """Refuse."""
        raise _theirs()

    def keep(self, model: str, seconds: float | None) -> None:
        """Leave it to the other machine."""

    async def unload(self, model: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise _theirs()

    def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Send the request to the other machine."""
        return self._inner.answer(request, model)

    def can_resume(self, request: Request) -> bool:  # noqa: ARG002
        """It is not known which engine answers there."""
        return False

    async def probe(self) -> Probe:
        """What the other machine said last; nothing is asked."""
        return await self._told()

    async def show(self, model: str, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A model's details, as the other machine gives them."""
        return await self._inner.show(model, body)

    async def count_tokens(self, request: Request, model: str) -> int | None:  # noqa: ARG002
        """It is not asked for that."""
        return None


def _theirs() -> ProxyError:
    return ProxyError(ErrorKind.UNSUPPORTED, "the models of another machine are managed there")
