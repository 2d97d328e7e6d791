"""The options that switched-on features add to the requests of an engine."""

from dataclasses import replace

from ollama_proxyd.core.features import EngineWishes, ollama_options
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.requests import Request
from ollama_proxyd.dialects.base import Rendered
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, decode_value, with_field
from ollama_proxyd.services.cell import Cell

_FIELD = "options"


class RequestOptions:
    """For one backend; without features a request stays as it is."""

    def __init__(self, wishes: Cell[EngineWishes], spec: BackendSpec) -> None:
        self._wishes = wishes
        self._spec = spec

    def added(self, request: Request, rendered: Rendered) -> Rendered:
        """The request with the options that the client did not choose itself."""
        wishes = self._wishes.value
        if not wishes.on or not rendered.path.startswith("/api/"):
            return rendered
        written = decode_fields(rendered.body).get(_FIELD)
        given = None if written is None else decode_value(written, _FIELD)
        given = given if isinstance(given, dict) else {}
        added = ollama_options(wishes, self._spec, request, given)
        if not added:
            return rendered
        return replace(rendered, body=with_field(rendered.body, _FIELD, {**given, **added}))
