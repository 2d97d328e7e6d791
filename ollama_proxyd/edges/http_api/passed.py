"""The routes that are passed on to engines that have them: reranking, sound and images."""

from functools import partial

from aiohttp import hdrs, web

from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.framing import form as forms
from ollama_proxyd.dialects.openai.passed import CALLS, FORMS, Call, Passed, parse, parse_form
from ollama_proxyd.edges.http_api.body import read_form
from ollama_proxyd.edges.http_api.frontends import settings_of
from ollama_proxyd.edges.http_api.streaming import Handler, answering, answering_what
from ollama_proxyd.services.large import off_loop


def _form_of(call: Call) -> Handler:
    """A handler for a call whose body is a form, with options as fields of the same names."""
    dialect = Passed(call)

    async def ask(request: web.Request, hints: Hints) -> Request:
        form, content_type = await read_form(request), request.headers.get(hdrs.CONTENT_TYPE, "")
        if (frontend := settings_of(request)) is not None:
            pinned, defaults = (
                {name: str(each[name]) for name in dialect.option_places if name in each}
                for each in (frontend.pinned, frontend.defaults)
            )
            await off_loop(len(form), partial(forms.place, form, content_type, pinned, defaults))
        return await off_loop(len(form), partial(parse_form, call, content_type, form, hints))

    return answering_what(ask, dialect)


INFERENCE = (
    *(web.post(path, answering(Passed(call), partial(parse, call))) for path, call in CALLS.items()),
    *(web.post(path, _form_of(call)) for path, call in FORMS.items()),
)
ROUTES = INFERENCE
