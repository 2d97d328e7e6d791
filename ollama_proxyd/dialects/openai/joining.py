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
        *("model", "messages", "stream", "max_tokens", "max_completion_tokens", "stop", "seed", "user", "metadata"),
        *("store", "temperature", "top_p", "top_k", "min_p", "typical_p", "frequency_penalty", "presence_penalty"),
        *("repeat_penalty", "repeat_last_n", "logit_bias", "response_format", "grammar", "json_schema"),
        *("cache_prompt", "reasoning_effort", "chat_template_kwargs"),
    )
)
"""The fields of a chat whose stream says just what the whole answer does.

Not with tools: of a call that the limit of tokens cut, a stream keeps back what a whole answer shows. Nor without a
chat's template, where it keeps back parts of a letter. Several answers, log probabilities and fields that are not known
have forms of their own.
"""

_ORDER = ("choices", "created", "model", "system_fingerprint", "object", "usage", "id", "timings")


def is_exact(endpoint: str, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the pieces of a stream make up the whole answer to a request with these fields."""
    return endpoint == "chat" and _EXACT.issuperset(fields)


class Joiner(ChunkDecoder):
    """Puts the chunks of one chat together, as the engine itself would have written the answer in one piece."""

    def __init__(self, name: str | None, asked: str) -> None:
        super().__init__()
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
        answer = joined(self._pieces)
        thinking = present(reasoning_content=answer.thinking or None)
        message: Json = {"role": "assistant", "content": answer.text, **thinking}
        choice: Json = {"finish_reason": self.finish().reason.value, "index": 0, "message": message}
        around: dict[str, Json | msgspec.Raw] = {name: self._told[name] for name in sorted(self._told, key=_place)}
        if not bytes(self._told.get("model", b"")).startswith(b'"'):
            around["model"] = self._asked
        return msgspec.json.encode({**around, **self._renamed, "object": "chat.completion", "choices": [choice]})


def _place(name: str) -> int:
    """Where a field stands in a whole answer of llama-server; others come at its end."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
