"""Errors that an engine reports inside an answer: what they say, in a form that can be shown."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.numbers import count

MOST_WRAPPINGS = 5
_MOST_MEMBERS = 20
_FAILURE = 400
"""HTTP's statuses from here on, which some gateways give in an answer of status 200."""
_DIGITS = 3
FAILED_ENDINGS = ("error", "abort", "insufficient_system_resource")
"""The reasons of answers that their engine could not end: OpenRouter's, that of vLLM and SGLang, and DeepSeek's."""
_JSON = msgspec.json.Decoder[Json](Any)
_SENTENCES = (
    *("message", "error", "detail", "msg", "errors", "error_message", "error_msg", "errmsg", "title", "exception"),
    *("reason", "error_description", "description", "fault", "faultstring", "metadata", "raw"),
)
_FAILING = ("error", "exception", "failed", "failure")
"""How the words end by which an object says that it tells a failure, such as `response.failed`."""
MOST_ERROR_BYTES = 4 * 1024
"""Of an error as JSON; what clients are told is a sentence and a few facts."""


def is_reported(error: Json, wrappings: int = MOST_WRAPPINGS) -> bool:
    """Whether an error field reports anything: null, "", 0, false and objects of these do not."""
    if error and wrappings and isinstance(error, Mapping):
        return any(is_reported(each, wrappings - 1) for each in error.values())
    return bool(error)


def sentence(error: Json, wrappings: int = MOST_WRAPPINGS) -> str | None:
    """The sentence in an error, in one line; some engines wrap it in another, or in a list."""
    if isinstance(error, msgspec.Raw):
        error = readable(_JSON, bytes(error))
    if isinstance(error, str):
        return sanitize_line(error) or None
    if not isinstance(error, Mapping | list) or not wrappings:
        return None
    inner = error[:_MOST_MEMBERS] if isinstance(error, list) else [*map(error.get, _SENTENCES), _response(error)]
    return next(filter(None, (sentence(each, wrappings - 1) for each in inner)), None)


def _response(error: Mapping[str, Json]) -> Json:
    """The object of OpenAI's Responses API that failed; in Ollama's API that member is a text, the answer's own."""
    inner = error.get("response")
    return inner if isinstance(inner, Mapping) else None


class Report(msgspec.Struct):
    """An object that may report a failure in place of an answer, in the ways of many engines and gateways."""

    error: Json = None
    errors: Json = None
    error_message: Json = None
    error_msg: Json = None
    errmsg: Json = None
    fault: Json = None
    detail: Json = None
    message: Json = None
    msg: Json = None
    title: Json = None
    reason: Json = None
    exception: Json = None
    response: Json = None
    type: Json = None
    object: Json = None
    status: Json = None
    status_code: Json = None
    statusCode: Json = None  # noqa: N815 - as Node.js writes it
    code: Json = None
    success: Json = None

    @property
    def reported(self) -> Json:
        """The failure that it reports; None for none."""
        words = (self.error, self.errors, self.error_message, self.error_msg, self.errmsg, self.detail)
        told = next(filter(is_reported, filter(None, (*words, self.exception, self.fault))), None)
        if told is None and not self._has_failed:
            return None
        if isinstance(told, str) and isinstance(self.message, str) and self.message.strip():
            return (
                told if told == self.message else f"{told}: {self.message}"
            )  # many frameworks name the status in the one, the cause in the other
        if sentence(told) is None:
            told = sentence([self.message, self.msg, self.title, self.reason, {"response": self.response}]) or told
        return told or True

    @property
    def _has_failed(self) -> bool:
        told = self.status, self.status_code, self.statusCode, self.code
        statuses = [_http_status(each) for each in told if each is not None]
        words = [each.lower() for each in (self.object, self.status, self.type) if isinstance(each, str)]
        is_said = any(each.endswith(_FAILING) for each in words)
        return is_said or self.success is False or max(statuses, default=0) >= _FAILURE


def _http_status(told: Json) -> int:
    """The status in a member, 0 for none; some gateways write it as text."""
    is_code = isinstance(told, str) and len(told) != _DIGITS
    return 0 if is_code else count(told) or 0


def failed_ending(reason: str | None) -> str | None:
    """The failure that the reason of an end tells; None for none."""
    return f"the answer ended with {reason!r}" if reason in FAILED_ENDINGS else None


def shown(error: Json, wrappings: int = MOST_WRAPPINGS) -> Json:
    """The error cut to what can be shown: texts in one line, few members, few levels."""
    if isinstance(error, str):
        return sanitize_line(error)
    if isinstance(error, Mapping):
        members = list(error.items())[:_MOST_MEMBERS] if wrappings else ()
        return {sanitize_line(name): shown(value, wrappings - 1) for name, value in members}
    if isinstance(error, list):
        return [shown(each, wrappings - 1) for each in error[:_MOST_MEMBERS]] if wrappings else []
    return error


def bounded(body: Json) -> Json:
    """An error's body as far as it can be shown: where that is long, its sentence and its names."""
    seen = shown(body)
    if len(msgspec.json.encode(seen)) <= MOST_ERROR_BYTES:
        return seen
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return {"error": sentence(body)}
    return {"error": {"message": sentence(error), **{name: shown(error.get(name), 0) for name in ("type", "code")}}}
