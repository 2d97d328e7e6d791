"""The routes that are passed on to engines that have them: reranking, sound and images."""

from collections.abc import Mapping
from functools import partial

from aiohttp import hdrs, web

from ollama_proxyd.core.requests import Hints, Json, Request
from ollama_proxyd.dialects.framing import form as forms
from ollama_proxyd.dialects.openai.passed import CALLS, FORMS, Call, Passed, parse, parse_form
from ollama_proxyd.edges.http_api.body import read_form
from ollama_proxyd.edges.http_api.frontends import settings_of
from ollama_proxyd.edges.http_api.streaming import Handler, answering, answering_what
from ollama_proxyd.services.large import off_loop

DIALECT = Passed()
_IN_FORMS = ("model", "temperature")
"""The options that forms have as fields of the same name."""


def _form_of(call: Call) -> Handler:
    """A handler for a call whose body is a form."""

    async def ask(request: web.Request, hints: Hints) -> Request:
        form, content_type = await read_form(request), request.headers.get(hdrs.CONTENT_TYPE, "")
        if (frontend := settings_of(request)) is not None:
            pinned, defaults = _fields(frontend.pinned), _fields(frontend.defaults)
            await off_loop(len(form), partial(forms.place, form, content_type, pinned, defaults))
        return await off_loop(len(form), partial(parse_form, call, content_type, form, hints))

    return answering_what(ask, DIALECT)


def _fields(options: Mapping[str, Json]) -> Mapping[str, str]:
    return {name: str(options[name]) for name in _IN_FORMS if name in options}


INFERENCE = (
    *(web.post(path, answering(DIALECT, partial(parse, call))) for path, call in CALLS.items()),
    *(web.post(path, _form_of(call)) for path, call in FORMS.items()),
)
ROUTES = INFERENCE
