"""The routes that are passed on to engines that have them: reranking, sound and images."""

from functools import partial

from aiohttp import hdrs, web

from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.openai.passed import CALLS, FORMS, Call, Passed, parse, parse_form
from ollama_proxyd.edges.http_api.body import read_form
from ollama_proxyd.edges.http_api.streaming import Handler, answering, answering_what
from ollama_proxyd.edges.plumbing.large import off_loop

DIALECT = Passed()


def _form_of(call: Call) -> Handler:
    """A handler for a call whose body is a form."""

    async def ask(request: web.Request, hints: Hints) -> Request:
        form, content_type = await read_form(request), request.headers.get(hdrs.CONTENT_TYPE, "")
        return await off_loop(len(form), partial(parse_form, call, content_type, form, hints))

    return answering_what(ask, DIALECT)


INFERENCE = (
    *(web.post(path, answering(DIALECT, partial(parse, call))) for path, call in CALLS.items()),
    *(web.post(path, _form_of(call)) for path, call in FORMS.items()),
)
ROUTES = INFERENCE
