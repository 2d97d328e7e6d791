"""What two recorded answers have in common: status, content type, the shape of every value, text and token counts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.e2e.harness import Reply

OURS = frozenset({"backends"})
"""Keys that the daemon adds on purpose."""


@dataclass(frozen=True)
class Case:
    """A request that a real Ollama was sent, and what it answered."""

    name: str
    method: str
    path: str
    request: Any
    answer: Reply

    @classmethod
    def parse(cls, line: str) -> "Case":
        raw = json.loads(line)
        answer = raw["response"]
        reply = Reply(answer["status"], answer["headers"], answer["body"].encode())
        return cls(raw["case"], raw["method"], raw["path"], raw["request"], reply)


def shape(value: Any) -> Any:
    """The keys and types of a JSON value; a list has the shape of its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items()) if key not in OURS}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def values(body: bytes) -> Iterator[Any]:
    """Every JSON value of a body, an NDJSON stream or an SSE stream; other lines as text."""
    for line in body.decode("utf-8", "replace").splitlines():
        text = line.removeprefix("data: ")
        try:
            yield json.loads(text)
        except ValueError:
            if text.strip():
                yield text.strip()


def shapes(body: bytes) -> list[Any]:
    """The shapes of all values in order, repeats folded."""
    folded: list[Any] = []
    for value in values(body):
        found = value if isinstance(value, str) else shape(value)
        if not folded or folded[-1] != found:
            folded.append(found)
    return folded


def said(body: bytes) -> str:
    """The answer's words, thinking first, joined over all frames."""
    spoken = [each for value in values(body) if isinstance(value, dict) for each in _spoken(value)]
    return "".join(thinking for thinking, _ in spoken) + "|" + "".join(content for _, content in spoken)


def _spoken(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The thinking and the words of one value: of Ollama's API and OpenAI's, of Anthropic's, of Responses."""
    delta, content = value.get("delta"), value.get("content")
    choices = [choice.get("delta") or choice.get("message") or choice for choice in value.get("choices") or ()]
    blocks = [*(content if isinstance(content, list) else ()), *([delta] if isinstance(delta, dict) else ())]
    for part in [{**value, "content": ""} if blocks else value, value.get("message") or {}, *choices, *blocks]:
        thinking = part.get("thinking") or part.get("reasoning") or part.get("reasoning_content") or ""
        words = part.get("response") or part.get("content") or part.get("text") or ""
        if isinstance(thinking, str) and isinstance(words, str) and "sequence_number" not in part:
            yield thinking, words
    if isinstance(delta, str) and "arguments" not in value["type"]:
        yield (delta, "") if "reasoning" in value["type"] else ("", delta)
    for item in value.get("output") or ():
        text = "".join(part["text"] for part in item.get("content") or item.get("summary") or ())
        yield (text, "") if item["type"] == "reasoning" else ("", text)


COUNTS = (
    "prompt_eval_count",
    "eval_count",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
)


def counted(body: bytes) -> dict[str, int]:
    """The tokens that the last frame counts."""
    found: dict[str, int] = {}
    for value in values(body):
        if isinstance(value, dict):
            response = value.get("response")
            whole = response if isinstance(response, dict) else value
            counts = {**value, **(whole.get("usage") or {})}
            found.update({name: counts[name] for name in COUNTS if name in counts})
    return found


def vectors(body: bytes) -> list[list[float]]:
    """The embeddings of an answer, to three decimals: beyond that, processors differ."""
    found: list[Any] = []
    for value in values(body):
        if isinstance(value, dict):
            found += value.get("embeddings") or [item.get("embedding") for item in value.get("data") or ()]
    return [[round(number, 3) for number in vector] for vector in found if isinstance(vector, list)]


def content_type(reply: Reply) -> str:
    return reply.headers.get("content-type", "").split(";")[0]


def differences(want: Reply, got: Reply) -> dict[str, str]:
    """What differs, by aspect, with both sides."""
    aspects = {
        "status": (want.status, got.status),
        "type": (content_type(want), content_type(got)),
        "shape": (shapes(want.body), shapes(got.body)),
    }
    if want.status == 200 and got.status == 200:
        aspects["text"] = (said(want.body), said(got.body))
        aspects["vectors"] = (vectors(want.body), vectors(got.body))
        aspects["tokens"] = (counted(want.body), counted(got.body))
    return {name: f"{name}\n  want {a!r:.1500}\n  got  {b!r:.1500}" for name, (a, b) in aspects.items() if a != b}
