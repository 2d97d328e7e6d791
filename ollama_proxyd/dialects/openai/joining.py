"""Whole answers of engines that are asked for a stream: only while they stream do they notice that a client left."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ollama_proxyd.core.events import Delta, Finished, Usage
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.begun import is_begun
from ollama_proxyd.dialects.framing.gathering import joined
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, present, readable
from ollama_proxyd.dialects.framing.lenient import pieces_in
from ollama_proxyd.dialects.framing.limits import check_answers
from ollama_proxyd.dialects.openai.answer import Frame
from ollama_proxyd.dialects.openai.decode import ChunkDecoder
from ollama_proxyd.dialects.openai.passing import CHAT, TEXT

_OWN_FORMS = (
    *("logprobs", "top_logprobs", "n_probs", "post_sampling_probs", "return_tokens", "return_progress"),
    *("timings_per_token", "response_fields", "verbose", "echo"),
)
"""The fields that ask for what a stream says in another way than a whole answer, or not at all."""

_VALUE = msgspec.json.Decoder[Json](Any)
_UNSET = frozenset((b"null", b"false", b"0"))
_ENDPOINTS = frozenset(("chat", "completions"))
_ORDER = ("choices", "created", "model", "system_fingerprint", "object", "usage", "id", "timings")


def is_exact(endpoint: str, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the pieces of a stream make up the whole answer to a request with these fields.

    Where the limit of tokens cuts it, they lack what the engine holds back until it is complete: the bytes of half a
    letter, a begun stop sequence, a tool call without its name.
    """
    is_plain = all(bytes(fields.get(name, b"null")) in _UNSET for name in _OWN_FORMS)
    return endpoint in _ENDPOINTS and is_plain and not is_begun(fields)


def answers_to(fields: Mapping[str, msgspec.Raw]) -> int:
    """How many answers a request gets: `n` for each of its prompts."""
    n, prompt = (readable(_VALUE, bytes(fields.get(name, b"null"))) for name in ("n", "prompt"))
    count = n if isinstance(n, int) else 1
    if not isinstance(prompt, list) or any(isinstance(each, int) for each in prompt):
        return count  # a text, or one prompt's tokens
    return count * len(prompt)


class Joiner(ChunkDecoder):
    """Puts the chunks of an answer together, as the engine itself would have written it in one piece."""

    def __init__(self, name: str | None, asked: str, answers: int = 1, *, is_chat: bool = True) -> None:
        super().__init__()
        self._renamed = present(model=name)
        self._asked = asked
        """What the model is called where the engine does not say it."""
        self._answers = answers
        self._is_chat = is_chat
        self._told: dict[str, msgspec.Raw] = {}
        """The fields around the choices, still the engine's bytes; those beside the first one's usage stand."""
        self._others: dict[int, ChunkDecoder] = {}
        self.number = 0  # the others are kept by their own numbers
        self._pieces: dict[int, list[Delta]] = {0: []}
        self._ended_last = 0

    def read(self, payload: bytes) -> Delta | None:
        """What one chunk says, which is kept."""
        piece = super().read(payload)
        if not self.ended and (not self._told or (b'"usage"' in payload and not self._ended_last)):
            for told in pieces_in(payload).objects[:1]:  # read as kindly as its words
                self._told |= decode_fields(told)
        return piece

    def choose(self, frame: Frame, usage: Usage | None) -> Delta | None:
        """What a frame says in the first of its answers; what it says in the others is kept too."""
        for choice in frame.choices or ():
            index = choice.index or 0
            if choice.ending:
                self._ended_last = index
            if index:
                other = self._others.setdefault(index, ChunkDecoder())
                check_answers(len(self._others))
                self._keep(index, other.hear(choice, None))
        piece = super().choose(frame, usage)
        self._keep(0, piece)
        return piece

    def _keep(self, index: int, piece: Delta | None) -> None:
        pieces = self._pieces.setdefault(index, [])
        if piece is not None:
            pieces.append(piece)

    def told_end(self) -> Finished | None:
        """How the answer ended, None where one of them broke off."""
        ends = [each.told_end() for each in self._others.values()]
        is_whole = len(self._pieces) >= self._answers and None not in ends
        return super().told_end() if is_whole else None

    @property
    def closing(self) -> bytes:
        """The whole answer, with the engine's own fields around it as far as every client reads them."""
        around: dict[str, Json | msgspec.Raw] = {name: self._told[name] for name in sorted(self._told, key=_place)}
        if not bytes(self._told.get("model", b"")).startswith(b'"'):
            around["model"] = self._asked
        kind = "chat.completion" if self._is_chat else "text_completion"
        choices: list[Json] = [self._choice(index) for index in sorted(self._pieces)]
        whole = msgspec.json.encode({**around, **self._renamed, "object": kind, "choices": choices})
        return (CHAT if self._is_chat else TEXT).kept(whole, {"model": self._asked})

    def _choice(self, index: int) -> dict[str, Json]:
        """One of the answers, as it stands in the whole."""
        answer = joined(self._pieces[index])
        reason = (self._others[index] if index else self).reason.value
        if not self._is_chat:
            return {"text": answer.text, "index": index, "logprobs": None, "finish_reason": reason}
        calls: list[Json] = [
            {
                "type": "function",
                "function": {"name": call.name or "", "arguments": call.arguments},
                "id": call.id or "",
            }
            for call in answer.tool_calls
        ]
        more = present(reasoning_content=answer.thinking or None, tool_calls=calls or None)
        message: Json = {"role": "assistant", "content": answer.text, **more}
        return {"finish_reason": reason, "index": index, "message": message}


def _place(name: str) -> int:
    """Where a field stands in a whole answer of llama-server; others come at its end."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
