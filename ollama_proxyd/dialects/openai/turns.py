"""A conversation in the core's words, written as OpenAI's messages."""

from collections import OrderedDict, deque
from collections.abc import Iterable

from ollama_proxyd.core.requests import Audio, Image, Json, Message, Part, Text, ToolCall

_SIGNATURES = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("Qk", "image/bmp"),
)
"""How the base64 of an image's first bytes begins."""


class OpenCalls:
    """The tool calls that no answer has come for yet; calls without an id get one, so that answers can name them."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, str] = OrderedDict()
        self._ids_of: dict[str, deque[str]] = {}
        self._made = 0

    def add(self, call: ToolCall) -> str:
        """The id of a call."""
        self._made += 1
        call_id = call.id or f"call_{self._made}"
        self._open.setdefault(call_id, call.name)
        self._ids_of.setdefault(call.name, deque()).append(call_id)
        return call_id

    def answered(self, message: Message) -> str | None:
        """The id of the call that a tool's message answers: its own, or that of the first open call that fits."""
        call_id = message.tool_call_id or self._first(message.name)
        if call_id is not None:
            self._open.pop(call_id, None)
        return call_id

    def _first(self, name: str | None) -> str | None:
        """The first open call of a tool, of any where no name is given; those that are answered are dropped here."""
        if name is None:
            return next(iter(self._open), None)
        ids = self._ids_of.get(name, deque())
        while ids and ids[0] not in self._open:
            ids.popleft()
        return ids[0] if ids else None


def render_messages(messages: Iterable[Message], with_thinking: bool) -> list[dict[str, Json]]:
    """The messages; earlier thinking goes along only where the engine takes it."""
    calls = OpenCalls()
    return [_message(message, calls, with_thinking) for message in messages]


def _message(message: Message, calls: OpenCalls, with_thinking: bool) -> dict[str, Json]:
    rendered: dict[str, Json] = {"role": message.role, "content": _content(message.parts)}
    if with_thinking and message.thinking:
        rendered["reasoning_content"] = message.thinking
    if message.tool_calls:
        rendered["tool_calls"] = [_call(call, calls) for call in message.tool_calls]
    if message.role == "tool":
        call_id = calls.answered(message)
        if call_id is not None:
            rendered["tool_call_id"] = call_id
    if message.name is not None:
        rendered["name"] = message.name
    return rendered


def _call(call: ToolCall, calls: OpenCalls) -> dict[str, Json]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": calls.add(call), "type": "function", "function": function}


def _content(parts: tuple[Part, ...] | None) -> Json:
    """Null, a string where there is only text, else a list of parts."""
    if parts is None:
        return None
    texts = [part.text for part in parts if isinstance(part, Text)]
    if len(texts) == len(parts) <= 1:
        return "".join(texts)
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Json]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(data, media_type):
            return {"type": "image_url", "image_url": {"url": f"data:{media_type or _kind_of(data)};base64,{data}"}}
        case Audio(data, sound):
            return {"type": "input_audio", "input_audio": {"data": data, "format": sound}}


def _kind_of(data: str) -> str:
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), "image/jpeg")
