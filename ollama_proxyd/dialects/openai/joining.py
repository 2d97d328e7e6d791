"""Whole answers of engines that are asked for a stream: only while they stream do they notice that a client left."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.events import Delta
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.gathering import joined
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, present
from ollama_proxyd.dialects.framing.lenient import pieces_in
from ollama_proxyd.dialects.openai.decode import ChunkDecoder

_EXACT = frozenset(
    (
        *("model", "messages", "prompt", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop"),
        *("seed", "user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier"),
        *("temperature", "top_p", "top_k", "min_p", "typical_p", "frequency_penalty", "presence_penalty"),
        *("repeat_penalty", "repeat_last_n", "logit_bias", "response_format", "grammar"),
        *("json_schema", "tools", "tool_choice", "parallel_tool_calls", "cache_prompt", "id_slot", "ignore_eos"),
        *("reasoning_effort", "reasoning_format", "chat_template_kwargs", "dynatemp_range", "dynatemp_exponent"),
        *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
        *("mirostat", "mirostat_tau", "mirostat_eta", "xtc_probability", "xtc_threshold", "min_keep", "n_keep"),
        *("n_predict", "samplers", "t_max_predict_ms"),
    )
)
"""The fields of a request whose stream says what the whole answer does; others may have forms of their own.

Where the limit of tokens cuts a call or a letter in two, a stream keeps back the torn piece. Log probabilities of
the pieces of a letter are not streamed, so they are asked for in one piece.
"""
_ONE = (b"1", b"null")

_ORDER = ("choices", "created", "model", "system_fingerprint", "object", "usage", "id", "timings")


def is_exact(endpoint: str, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the pieces of a stream make up the whole answer to a request with these fields."""
    others = {name for name in fields if name not in _EXACT}
    has_one = others <= {"n"} and bytes(fields.get("n", b"1")).strip() in _ONE
    return has_one and (endpoint == "chat" or bytes(fields.get("prompt", b"")).lstrip().startswith(b'"'))


class Joiner(ChunkDecoder):
    """Puts the chunks of one answer together, as the engine itself would have written it in one piece."""

    def __init__(self, name: str | None, asked: str, endpoint: str = "chat") -> None:
        super().__init__()
        self._endpoint = endpoint
        self._renamed = present(model=name)
        self._asked = asked
        """What the model is called where the engine does not say it."""
        self._told: dict[str, msgspec.Raw] = {}
        """The fields around the choices, still the engine's bytes; those of the chunk with the usage stand."""
        self._pieces: list[Delta] = []

    def read(self, payload: bytes) -> Delta | None:
        """What one chunk says, which is kept."""
        piece = super().read(payload)
        if not self.ended and (not self._told or b'"usage"' in payload):
            for told in pieces_in(payload).objects[:1]:  # read as kindly as its words
                self._told |= decode_fields(told)
        if piece is not None:
            self._pieces.append(piece)
        return piece

    @property
    def closing(self) -> bytes:
        """The whole answer."""
        choice, kind = (
            (self._chat(), "chat.completion") if self._endpoint == "chat" else (self._text(), "text_completion")
        )
        around: dict[str, Json | msgspec.Raw] = {name: self._told[name] for name in sorted(self._told, key=_place)}
        if not bytes(self._told.get("model", b"")).startswith(b'"'):
            around["model"] = self._asked
        return msgspec.json.encode({**around, **self._renamed, "object": kind, "choices": [choice]})

    def _chat(self) -> Json:
        answer = joined(self._pieces)
        calls: Json = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}, "id": call.id}
            for call in answer.tool_calls
        ]
        rest = present(reasoning_content=answer.thinking or None, tool_calls=calls or None)
        message: Json = {"role": "assistant", "content": answer.text, **rest}
        return {"finish_reason": self._told_reason, "index": 0, "message": message}

    def _text(self) -> Json:
        text = joined(self._pieces).text
        return {"text": text, "index": 0, "logprobs": None, "finish_reason": self._told_reason}

    @property
    def _told_reason(self) -> str:
        return self.finish().reason.value


def _place(name: str) -> int:
    """Where a field stands in a whole answer of llama-server; others come at its end."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
