"""Chat answers for OpenAI clients.

Thinking goes out under both names in use, `reasoning_content` (llama-server, DeepSeek) and `reasoning` (Ollama, newer
vLLM): clients read the one that they know.
"""

from ollama_proxyd.core.events import Delta, Finished, FinishReason, TokenLogprob, ToolCallDelta
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.dialects.openai.encode_text import REASONS, TextEncoder


class ChatEncoder(TextEncoder):
    """Writes one chat answer: the role comes with the first delta alone."""

    def __init__(self, request: Request, created: int, answer_id: str) -> None:
        kinds = ("chat.completion.chunk", "chat.completion")
        super().__init__(request, created, f"chatcmpl-{answer_id}", kinds)
        self._call_prefix = f"call_{answer_id}"
        self._begun = False
        self._calls: set[int] = set()

    def _pieces(self, delta: Delta) -> list[Json]:
        message: dict[str, Json] = {} if self._begun else {"role": "assistant"}
        if delta.text or delta.thinking or not self._begun:
            message["content"] = delta.text
        _add_thinking(message, delta.thinking)
        if delta.tool_calls:
            message["tool_calls"] = [self._call_piece(call) for call in delta.tool_calls]
        self._begun = True
        choice: dict[str, Json] = {"index": 0, "delta": message, "finish_reason": None}
        if delta.logprobs is not None:
            choice["logprobs"] = {"content": [logprob_object(token) for token in delta.logprobs]}
        return [choice]

    def _call_piece(self, call: ToolCallDelta) -> Json:
        if call.index in self._calls:
            return {"index": call.index, "function": {"arguments": call.arguments}}
        self._calls.add(call.index)
        return {"index": call.index, **self._call(call.index, call.id, call.name, call.arguments)}

    def _call(self, index: int, call_id: str | None, name: str | None, arguments: str) -> dict[str, Json]:
        function = {"name": name or "", "arguments": arguments}
        return {"id": call_id or f"{self._call_prefix}_{index}", "type": "function", "function": function}

    def _last_pieces(self, finished: Finished) -> list[Json]:
        first = [] if self._begun else self._pieces(Delta())
        return [*first, {"index": 0, "delta": {}, "finish_reason": _reason(finished, bool(self._calls))}]

    def _answer(self, deltas: list[Delta], finished: Finished) -> Json:
        calls = self._gathered(deltas)
        text = "".join(delta.text for delta in deltas)
        message: dict[str, Json] = {"role": "assistant", "content": None if calls and not text else text}
        _add_thinking(message, "".join(delta.thinking for delta in deltas))
        if calls:
            message["tool_calls"] = calls
        choice: dict[str, Json] = {
            "index": 0,
            "message": message,
            "finish_reason": _reason(finished, bool(calls)),
        }
        tokens = [token for delta in deltas for token in delta.logprobs or ()]
        if tokens:
            choice["logprobs"] = {"content": [logprob_object(token) for token in tokens]}
        return choice

    def _gathered(self, deltas: list[Delta]) -> list[dict[str, Json]]:
        pieces: dict[int, list[ToolCallDelta]] = {}
        for delta in deltas:
            for call in delta.tool_calls:
                pieces.setdefault(call.index, []).append(call)
        return [
            self._call(index, calls[0].id, calls[0].name, "".join(call.arguments for call in calls))
            for index, calls in sorted(pieces.items())
        ]


def _add_thinking(message: dict[str, Json], thinking: str) -> None:
    if thinking:
        message["reasoning_content"] = message["reasoning"] = thinking


def _reason(finished: Finished, called: bool) -> str:
    """The finish reason; engines of other dialects say `stop` after calling tools."""
    return REASONS[FinishReason.TOOL_CALLS if called and finished.reason is FinishReason.STOP else finished.reason]


def logprob_object(token: TokenLogprob) -> dict[str, Json]:
    """A token's log probability in the form of chats."""
    return {**_logprob(token), "top_logprobs": [_logprob(other) for other in token.top]}


def _logprob(token: TokenLogprob) -> dict[str, Json]:
    return {"token": token.token, "logprob": token.logprob, "bytes": None if token.bytes is None else list(token.bytes)}
