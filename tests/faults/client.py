"""A client that keeps every byte of its answer, and judges it as the strictest SDK would."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

from tests.faults.answers import ASK, TEXT

BOUND_S = 20.0
"""A client that has waited for so long is lost."""
PATHS = {"openai": "/v1/chat/completions", "ollama": "/api/chat", "anthropic": "/v1/messages"}


class Outcome(Enum):
    """What a client saw."""

    WHOLE = "whole"
    HONEST = "honest end"
    WRONG = "wrong"
    LOST = "lost"


@dataclass(frozen=True)
class Seen:
    """The outcome, and what was wrong."""

    outcome: Outcome
    why: str = ""
    status: int = 0
    headers: Mapping[str, str] | None = None


class Judged(Exception):
    """The judgement is made."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(seen.why)
        self.seen = seen


def wrong(why: str) -> NoReturn:
    raise Judged(Seen(Outcome.WRONG, why))


def lost(why: str) -> NoReturn:
    raise Judged(Seen(Outcome.LOST, why))


def request(api: str, model: str, *, stream: bool, prompt_bytes: int = 0, **more: Any) -> bytes:
    """A client's whole request, on a connection of its own."""
    prompt = "x" * prompt_bytes + ASK
    messages = [{"role": "user", "content": prompt}]
    fields = {"model": model, "stream": stream, "messages": messages, "temperature": 0, **more}
    return request_for(api, {**fields, "max_tokens": 4096} if api == "anthropic" else fields)


def request_for(api: str, fields: Mapping[str, Any], path: str = "") -> bytes:
    """A request with this body."""
    body = json.dumps(fields)
    lines = (
        f"POST {path or PATHS[api]} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Connection: close",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", body]).encode()


async def exchange(port: int, sent: bytes, bound_s: float = BOUND_S) -> tuple[bytes, bool]:
    """All that came until the connection ended, and whether it ended in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = bytearray()
    try:
        async with asyncio.timeout(bound_s):
            writer.write(sent)
            await writer.drain()
            while piece := await reader.read(65536):
                got += piece
    except TimeoutError:
        return bytes(got), False
    except OSError:
        pass
    finally:
        writer.close()
    return bytes(got), True


@dataclass(frozen=True)
class Asked:
    """What a client asked for; also good is an answer whose text is one of `texts`."""

    api: str
    model: str
    stream: bool
    texts: tuple[str, ...] = ()
    is_other: bool = False
    """Whether the known text is not good."""
    is_whole: bool = False
    """Whether the engine is to be asked for one piece, too: with `logprobs` it is."""


async def ask(port: int, asked: Asked, prompt_bytes: int = 0, bound_s: float = BOUND_S) -> Seen:
    """One request, and what was seen."""
    began_s = time.monotonic()
    more = {"logprobs": False} if asked.is_whole and asked.api == "openai" else {}
    sent = request(asked.api, asked.model, stream=asked.stream, prompt_bytes=prompt_bytes, **more)
    got, in_time = await exchange(port, sent, bound_s)
    return seen_in(asked, got, in_time, time.monotonic() - began_s)


def seen_in(asked: Asked, got: bytes, in_time: bool, took_s: float) -> Seen:
    """What a client makes of all that it got."""
    status = 0
    headers: dict[str, str] = {}
    try:
        if not in_time:
            lost(f"no end after {took_s:.1f} s; the last of it: {got[-80:]!r}")
        status, headers, body = parse(got)
        return Seen(*judge(asked, status, body), status, headers)
    except Judged as judged:
        return Seen(judged.seen.outcome, judged.seen.why, status, headers)


def parse(got: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, which must be as long as HTTP says."""
    head, separator, rest = got.partition(b"\r\n\r\n")
    if not separator:
        lost(f"the connection ended without an answer: {got[:80]!r}")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        return int(first.split(" ")[1]), headers, unchunked(rest)
    if len(rest) != int(headers.get("content-length", -1)):
        lost(f"{len(rest)} of {headers.get('content-length')} bytes came")
    return int(first.split(" ")[1]), headers, rest


def unchunked(rest: bytes) -> bytes:
    body = bytearray()
    while True:
        size, separator, rest = rest.partition(b"\r\n")
        length = int(size, 16) if separator else -1
        if length < 0 or len(rest) < length + 2:
            lost(f"HTTP's end is missing; the last of it: {bytes(body)[-80:]!r}")
        body += rest[:length]
        rest = rest[length + 2 :]
        if length == 0:
            return bytes(body)


def decoded(text: bytes) -> Any:
    """JSON as the strictest reader has it."""

    def refuse(word: str) -> NoReturn:
        wrong(f"{word} is no JSON")

    try:
        return json.loads(text.decode(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        wrong(f"not JSON ({error}): {text[:80]!r}")


def judge(asked: Asked, status: int, body: bytes) -> tuple[Outcome, str]:
    """Whole, or an honest end; raises Judged for everything else."""
    if status != 200:
        sentence = error_in(asked.api, decoded(body))
        if status < 400 or not sentence:
            wrong(f"status {status} without an error of the dialect: {body[:80]!r}")
        return Outcome.HONEST, f"{status} {sentence}"
    told = Told(asked.api, asked.model)
    if asked.stream:
        for piece in body.splitlines() if asked.api == "ollama" else events(body):
            told.take(piece)
    else:
        told.take_whole(decoded(body))
    return told.verdict(asked.texts if asked.is_other else (TEXT, *asked.texts))


def error_in(api: str, value: Any) -> str:
    """The sentence of an error in the dialect's form, "" where it is none."""
    error = value.get("error") if isinstance(value, dict) else None
    if api != "ollama":
        error = error.get("message") if isinstance(error, dict) and isinstance(error.get("type"), str | None) else None
    return error if isinstance(error, str) else ""


def events(body: bytes) -> list[bytes]:
    """The data of each server-sent event; what does not end in a blank line was no event."""
    found = []
    *blocks, rest = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
    if rest.strip():
        wrong(f"an event without its end: {rest[:80]!r}")
    for block in blocks:
        fields = [line.partition(b":") for line in block.split(b"\n") if line and not line.startswith(b":")]
        if odd := {name for name, _, _ in fields} - {b"data", b"event", b"id", b"retry"}:
            wrong(f"odd fields {odd} in {block[:80]!r}")
        if data := [value.removeprefix(b" ") for name, _, value in fields if name == b"data"]:
            found.append(b"\n".join(data))
    return found


class Told:
    """What an answer has told so far."""

    def __init__(self, api: str, model: str) -> None:
        self.api = api
        self.model = model
        self.text = ""
        self.finish: Any = None
        self.error = ""
        self.is_done = False
        self.ids: set[Any] = set()
        self.blocks = 0
        self.is_in_block = False

    def take(self, piece: bytes) -> None:
        """One piece of a stream."""
        if self.is_done or self.error:
            wrong(f"after the {'end' if self.is_done else 'error'} comes {piece[:80]!r}")
        if self.api == "openai" and piece.strip() == b"[DONE]":
            self.is_done = True
            return
        value = decoded(piece)
        if not isinstance(value, dict):
            wrong(f"no object: {piece[:80]!r}")
        if value.get("error") is not None:
            if self.finish:
                wrong("an error after a complete answer")
            self.error = error_in(self.api, value) or wrong(f"an error in no form: {piece[:80]!r}")
            return
        match self.api:
            case "openai":
                self._take_openai(value, "delta")
            case "ollama":
                self._take_ollama(value)
            case _:
                self._take_anthropic(value)

    def take_whole(self, value: Any) -> None:
        """An answer in one piece."""
        if not isinstance(value, dict):
            wrong(f"no object: {value!r}"[:120])
        if value.get("error") is not None:
            wrong("an error as 200")
        match self.api:
            case "openai":
                self._take_openai(value, "message")
            case "ollama":
                self._take_ollama(value)
            case _:
                self._check_name(value)
                texts = [block["text"] for block in value["content"] if block["type"] == "text"]
                self._add("".join(texts), value["stop_reason"])
        self.is_done = True

    def _take_openai(self, value: Mapping[str, Any], key: str) -> None:
        self._check_name(value)
        self.ids.add(value.get("id"))
        if len(self.ids) > 1:
            wrong(f"two ids: {self.ids}")
        choices = value.get("choices")
        if not isinstance(choices, list):
            wrong(f"no choices: {value!r}"[:120])
        for choice in choices:
            said = choice.get(key) if isinstance(choice, dict) else None
            if not isinstance(said, dict) or choice.get("index") != 0:
                wrong(f"an odd choice: {choice!r}"[:120])
            self._add(said.get("content"), choice.get("finish_reason"))

    def _take_ollama(self, value: Mapping[str, Any]) -> None:
        self._check_name(value)
        message = value.get("message")
        if not isinstance(message, dict):
            wrong(f"no message: {value!r}"[:120])
        self.is_done = value.get("done") is True
        self._add(message.get("content"), value.get("done_reason") if self.is_done else None)

    def _take_anthropic(self, value: Mapping[str, Any]) -> None:
        """An event: blocks begin and end one after another."""
        said, kind = value.get("delta", {}), value.get("type")
        if kind == "message_start":
            self._check_name(value["message"])
        elif kind in {"content_block_start", "content_block_delta", "content_block_stop"}:
            is_open = kind != "content_block_start"
            if self.is_in_block != is_open or value["index"] != self.blocks - is_open:
                wrong(f"a block out of turn: {value!r}"[:120])
            self.blocks += not is_open
            self.is_in_block = kind != "content_block_stop"
        elif kind == "message_stop":
            self.is_done = not self.is_in_block
        elif kind not in {"message_delta", "ping"}:
            wrong(f"an odd event: {value!r}"[:120])
        self._add(said.get("text"), said.get("stop_reason"))

    def _check_name(self, value: Mapping[str, Any]) -> None:
        if value.get("model") != self.model:
            wrong(f"the model is called {value.get('model')!r}: {value!r}"[:160])

    def _add(self, text: Any, finish: Any) -> None:
        if text is not None and not isinstance(text, str):
            wrong(f"text that is none: {text!r}"[:80])
        if finish is not None and (self.finish or not isinstance(finish, str)):
            wrong(f"an odd reason of the end: {finish!r} after {self.finish!r}")
        self.text += text or ""
        self.finish = self.finish or finish

    def verdict(self, texts: tuple[str, ...]) -> tuple[Outcome, str]:
        if self.error:
            if not any(text.startswith(self.text) for text in texts):
                wrong(f"text that nobody said: …{self.text[-60:]!r}")
            return Outcome.HONEST, self.error
        if not self.is_done:
            wrong(f"it stops without a word after …{self.text[-40:]!r}")
        if self.text not in texts:
            wrong(f"another text: {self.text[:30]!r}…{self.text[-60:]!r} of {len(self.text)} characters")
        return Outcome.WHOLE, ""
