"""Decodes request bodies strictly, and refuses them in the words of a real Ollama server."""

import re
from typing import TypeVar

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.limits import check_values
from ollama_proxyd.dialects.ollama import gojson

T = TypeVar("T")

MOST_EXPLAINED_BYTES = 64 * 1024
"""What is wrong with a larger body is told in fewer words: finding Ollama's takes a thousand times as long."""

_MISMATCH = re.compile(r"Expected `(?P<want>[^`]+)`, got `(?P<got>\w+)`(?: - at `\$(?P<path>.*)`)?$")
_INDEX = re.compile(r"\[[^\]]*\]")
_JSON_NAMES = {"str": "string", "int": "number", "float": "number"}
_GO_SCALARS = {"str": "string", "int": "int", "float": "float64", "object": "map[string]interface {}"}
_GO_LISTS = {
    "messages": "[]api.Message",
    "tools": "api.Tools",
    "images": "[]api.ImageData",
    "tool_calls": "[]api.ToolCall",
    "context": "[]int",
}


def decode(body: bytes, decoder: msgspec.json.Decoder[T], go_name: str) -> T:
    """What the decoder makes of the body; `go_name` is what Ollama calls the whole (ChatRequest, ...)."""
    check_values(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise refusal(_mismatch(str(error), go_name)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refusal(_malformed(body, error)) from error
    except RecursionError as error:
        raise refusal("exceeded max depth") from error


def refusal(message: str, param: str | None = None) -> ProxyError:
    """The client's request is at fault."""
    return ProxyError(ErrorKind.INVALID_REQUEST, message, param=param)


def go_quote(text: str) -> str:
    """Text in double quotes, escaped."""
    return msgspec.json.encode(text).decode()


def _malformed(body: bytes, error: Exception) -> str:
    if len(body) > MOST_EXPLAINED_BYTES:
        return f"the request body is not JSON: {error}"
    text = body.decode("utf-8", "replace")
    if not text.strip(" \t\r\n"):
        return "missing request body"
    return gojson.explain(text) or "the request body holds text that is not valid UTF-8"


def _mismatch(complaint: str, go_name: str) -> str:
    found = _MISMATCH.match(complaint)
    if found is None:
        return f"json: {complaint[:1].lower()}{complaint[1:]}".replace("`", "")
    got = _JSON_NAMES.get(found["got"], found["got"])
    path = found["path"] or ""
    field = _INDEX.sub("", path).lstrip(".")
    if not field:
        return f"json: cannot unmarshal {got} into Go value of type api.{go_name}"
    want = _go_type(found["want"].removesuffix(" | null"), field.rsplit(".", 1)[-1], in_list=path.endswith("]"))
    return f"json: cannot unmarshal {got} into Go struct field {go_name}.{field} of type {want}"


def _go_type(want: str, name: str, *, in_list: bool) -> str:
    if want == "array":
        return _GO_LISTS.get(name, "[]interface {}")
    if want == "object" and in_list and name in _GO_LISTS:
        return _GO_LISTS[name].removeprefix("[]")
    return _GO_SCALARS.get(want, want)
