"""The one answer that the scripted upstream knows, in the frames of each dialect, from the start or from the middle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORDS = tuple(f" w{number:02d}{'é漢🙂'[number % 3] if number % 4 == 1 else ''}" for number in range(60))
"""Some of them have characters of two, three and four bytes."""
TEXT = "".join(WORDS)
ASK = "go on"
CREATED = 1_790_000_000
DATE = "2026-09-21T15:33:20.000000000Z"


@dataclass(frozen=True)
class Frames:
    """An answer in pieces; a whole one is cut into as many as a streamed one has."""

    opening: tuple[bytes, ...]
    words: tuple[bytes, ...]
    closing: tuple[bytes, ...]

    @property
    def all(self) -> tuple[bytes, ...]:
        return (*self.opening, *self.words, *self.closing)


def spoken(prompt: str) -> int:
    """How many words of the answer a prompt ends with already."""
    return next((count for count in range(len(WORDS), 0, -1) if prompt.endswith("".join(WORDS[:count]))), 0)


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + dumps(value) + b"\n\n"


def line(value: Any) -> bytes:
    """A line of NDJSON."""
    return dumps(value) + b"\n"


def chunk(model: str, delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of OpenAI's stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": CREATED, "model": model}
    return {**base, "choices": [choice], **more}


def usage(count: int = len(WORDS)) -> dict[str, Any]:
    return {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}


def counters(count: int = len(WORDS)) -> dict[str, Any]:
    times = {"total_duration": 9_000_000, "load_duration": 1_000_000, "prompt_eval_count": 7}
    return {**times, "prompt_eval_duration": 2_000_000, "eval_count": count, "eval_duration": 5_000_000}


def said(model: str, text: str, *, plain: bool = False, **more: Any) -> dict[str, Any]:
    """One line of Ollama's stream; `plain` is /api/generate's."""
    words = {"response": text} if plain else {"message": {"role": "assistant", "content": text}}
    return {"model": model, "created_at": DATE, **words, "done": False, **more}


def openai_stream(model: str, start: int = 0) -> Frames:
    role = () if start else (event(chunk(model, {"role": "assistant", "content": None})),)
    words = tuple(event(chunk(model, {"content": word})) for word in WORDS[start:])
    end = event(chunk(model, {}, "stop", usage=usage(len(WORDS) - start)))
    return Frames(role, words, (end, b"data: [DONE]\n\n"))


def ollama_stream(model: str, start: int = 0, *, plain: bool = False) -> Frames:
    words = tuple(line(said(model, word, plain=plain)) for word in WORDS[start:])
    last = said(model, "", plain=plain) | {"done": True, "done_reason": "stop", **counters(len(WORDS) - start)}
    return Frames((), words, (line(last),))


def whole(api: str, model: str, start: int = 0, *, plain: bool = False) -> Frames:
    """A whole answer's body, cut before and after each word."""
    mark = "\0"
    body: dict[str, Any]
    if api == "openai":
        message = {"role": "assistant", "content": mark}
        body = {"id": "chatcmpl-up", "object": "chat.completion", "created": CREATED, "model": model}
        body |= {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        body |= {"usage": usage(len(WORDS) - start)}
    else:
        body = said(model, mark, plain=plain) | {"done": True, "done_reason": "stop", **counters(len(WORDS) - start)}
    before, after = dumps(body).split(b"\\u0000")
    return Frames((before,), tuple(word.encode() for word in WORDS[start:]), (after,))


def frames(api: str, model: str, start: int = 0, *, stream: bool, plain: bool = False) -> Frames:
    """The answer's pieces in a dialect."""
    if not stream:
        return whole(api, model, start, plain=plain)
    return openai_stream(model, start) if api == "openai" else ollama_stream(model, start, plain=plain)


def vectors(api: str, model: str) -> dict[str, Any]:
    """The answer to a request for embeddings of one input."""
    vector = [0.6, 0.8]
    if api == "ollama":
        return {"model": model, "embeddings": [vector], "total_duration": 5_000_000, "prompt_eval_count": 7}
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    return {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}}
