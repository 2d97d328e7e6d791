"""The options of requests that are about the engine: what features add, and what a process is not to get."""

from dataclasses import replace
from typing import Final

import msgspec

from ollama_proxyd.core.features import EngineWishes, ollama_options
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.dialects.base import Rendered
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, decode_value, with_field
from ollama_proxyd.services.cell import Cell

_FIELD = "options"
_KEEP, _FOR_EVER = "keep_alive", -1
_OF_THE_PROCESS: Final = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "draft_num_predict"}
)
"""For another value of one of these Ollama loads the model anew (api.Runner of api/types.go)."""


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


class ProcessOptions(RequestOptions):
    """For a process that the proxy runs: how it holds its model, and for how long, is not its clients' to say."""

    def added(self, request: Request, rendered: Rendered) -> Rendered:  # noqa: ARG002 - see RequestOptions
        """The request without what would have the model loaded anew, or let go of; the client is told."""
        if not rendered.path.startswith("/api/"):
            return rendered
        fields = decode_fields(rendered.body)
        written = fields.get(_FIELD)
        given = None if written is None else decode_value(written, _FIELD)
        given = given if isinstance(given, dict) else {}
        ignored = [f"{_FIELD}.{name}" for name in given if name in _OF_THE_PROCESS]
        changed: dict[str, Json] = {}
        if ignored:
            changed[_FIELD] = {name: value for name, value in given.items() if name not in _OF_THE_PROCESS}
        if _KEEP in fields:
            ignored.append(_KEEP)
            changed[_KEEP] = _FOR_EVER
        if not changed:
            return rendered
        body = msgspec.json.encode({**fields, **changed})  # of two `options` Ollama would read both
        return replace(rendered, body=body, ignored_fields=(*rendered.ignored_fields, *ignored))
