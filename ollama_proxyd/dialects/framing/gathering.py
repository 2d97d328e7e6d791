"""The pieces of one answer put together, for a client that takes it, or its tool calls, whole."""

from collections.abc import Iterable

from ollama_proxyd.core.errors import BAD_CALL, ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, ToolCallDelta
from ollama_proxyd.core.requests import Api, Request
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.limits import MOST_ARGUMENTS_CHARACTERS


class ToolCalls:
    """The calls of one answer, in the order in which they began."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[ToolCallDelta]] = {}
        self._characters = 0

    def add(self, pieces: Iterable[ToolCallDelta]) -> None:
        """Take in fragments; those of one index belong together."""
        for piece in pieces:
            self._characters += len(piece.arguments)
            if self._characters > MOST_ARGUMENTS_CHARACTERS:
                message = f"the model called tools with more than {MOST_ARGUMENTS_CHARACTERS} characters of arguments"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            self._pieces.setdefault(piece.index, []).append(piece)

    def whole(self) -> tuple[ToolCallDelta, ...]:
        """Each call in one piece; its name may have come in several too."""
        return tuple(
            ToolCallDelta(
                index=index,
                id=next((piece.id for piece in pieces if piece.id), None),
                name="".join(piece.name for piece in pieces if piece.name) or None,
                arguments="".join(piece.arguments for piece in pieces),
            )
            for index, pieces in self._pieces.items()
        )


def says(call: ToolCallDelta) -> bool:
    """Whether a call says anything; some engines send an empty one."""
    return bool(call.name or call.arguments.strip())


def joined(events: Iterable[Event]) -> Delta:
    """All deltas of an answer as one."""
    deltas = [event for event in events if isinstance(event, Delta)]
    calls = ToolCalls()
    for delta in deltas:
        calls.add(delta.tool_calls)
    return Delta(
        text="".join(delta.text for delta in deltas),
        thinking="".join(delta.thinking for delta in deltas),
        tool_calls=calls.whole(),
        logprobs=tuple(token for delta in deltas for token in delta.logprobs or ()) or None,
    )


def was_cut(finished: Finished, request: Request) -> bool:
    """Whether the token limit cut an answer; some engines name another reason there."""
    limit, tokens = request.max_tokens, finished.usage.completion_tokens
    return finished.reason is FinishReason.LENGTH or bool(limit and tokens and tokens >= limit)


_WITH_OBJECTS = frozenset({Api.OLLAMA, Api.ANTHROPIC})


class CallCheck:
    """Whether a client can be told the calls of an answer, asked while the answer may still fail.

    Ollama's API and Anthropic's have arguments as objects; in others they are a text.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._calls = ToolCalls() if request.api in _WITH_OBJECTS else None

    def hear(self, events: Iterable[Event]) -> None:
        """Take in what calls there are; raises ProxyError at the end of an answer with one that cannot be told."""
        if self._calls is None:
            return
        for event in events:
            if isinstance(event, Delta) and event.tool_calls:
                self._calls.add(event.tool_calls)
            elif isinstance(event, Finished):
                whole_calls(self._calls.whole(), is_cut=was_cut(event, self._request))


def finished_calls(calls: Iterable[ToolCallDelta], finished: Finished) -> list[tuple[ToolCallDelta, bytes]]:
    """The calls for a client that takes arguments as a text, and so may be told what is no object."""
    return whole_calls(calls, is_cut=finished.reason is FinishReason.LENGTH, as_text=True)


def whole_calls(
    calls: Iterable[ToolCallDelta], *, is_cut: bool, as_text: bool = False
) -> list[tuple[ToolCallDelta, bytes]]:
    """The calls with their arguments; where the token limit cut the answer, without those left unfinished.

    ProxyError when the model named no tool, or wrote no object as arguments.
    """
    found = []
    for call in filter(says, calls):
        arguments = object_of(call.arguments)
        if arguments is None and as_text and not is_cut:
            arguments = call.arguments.encode(errors="replace")
        if arguments is not None and call.name:
            found.append((call, arguments))
        elif not is_cut:
            what = f"'{sanitize_line(call.name)}' with arguments that are not a JSON object" if call.name else "no tool"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"the model called {what}", code=BAD_CALL)
    return found
