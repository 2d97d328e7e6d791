"""Answers to exact requests, bounded in bytes and age: what the cheapest joule is kept in."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, NamedTuple

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, FinishReason, Resumed
from ollama_proxyd.core.fleet import BackendSpec, Model
from ollama_proxyd.core.options import Option, Positive, Within
from ollama_proxyd.core.requests import Embedding, Json, Request
from ollama_proxyd.core.values import value

MOST_BODY_BYTES = 256 * 1024
"""Larger requests are seldom asked twice, and reading them takes long."""
MOST_SHARE = 8
"""One answer takes at most this part of the cache."""
BYTES_PER_MB = 10**6
_EVENT_BYTES, _FLOAT_BYTES = 512, 32
"""What an event and a number take in memory, about."""
_RANDOM_SEEDS = (-1, 2**32 - 1)
"""Engines of llama.cpp take these as no seed (LLAMA_DEFAULT_SEED)."""
_WHOLE = frozenset({FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS})


@value
class CacheSettings:
    """Whether answers are kept, how many, and for how long."""

    enabled: Annotated[
        bool,
        Option(
            "answer_cache.",
            "Whether embeddings and deterministic answers (temperature 0 or a seed) are kept in memory, "
            "and given again to the same request.",
        ),
    ] = False
    max_size_mb: Annotated[
        int,
        Within(1, 65_536),
        Option("answer_cache.", "The limit of memory for answers, in megabytes of 10^6 bytes."),
    ] = 64
    max_age_s: Annotated[Positive, Option("answer_cache.", "Seconds for which an answer is kept.")] = 86_400.0


class Holder(NamedTuple):
    """Whose answer it is: the backend as configured, and its model."""

    spec: BackendSpec
    model: Model


@value
class Kept:
    """An answer, whose it is, and since when it is kept."""

    events: tuple[Event, ...]
    holder: Holder
    at_s: float
    size_bytes: int

    @property
    def energy_j(self) -> float | None:
        """What it cost, None where that is not known."""
        last = self.events[-1]
        return last.energy.total_j if isinstance(last, Finished) and last.energy is not None else None


class KeptAnswers:
    """The answers by their requests; the oldest goes first."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Kept] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: bytes, since_s: float) -> Kept | None:
        """The answer to a request, where there is one that is young enough."""
        found = self._kept.get(key)
        return None if found is None or found.at_s < since_s else found

    def keep(self, key: bytes, answer: Kept, most_bytes: int) -> None:
        """Keep an answer instead of an earlier one; the oldest leave to make room."""
        self.forget(key)
        self._kept[key] = answer
        self.size_bytes += answer.size_bytes
        self.shrink(most_bytes)

    def shrink(self, most_bytes: int) -> None:
        """Let the oldest answers go until the others fit."""
        while self.size_bytes > most_bytes:
            self.forget(next(iter(self._kept)))

    def expire(self, since_s: float) -> None:
        """Let go of answers that are older."""
        while self._kept and next(iter(self._kept.values())).at_s < since_s:
            self.forget(next(iter(self._kept)))

    def forget(self, key: bytes) -> None:
        """Let go of an answer."""
        if (found := self._kept.pop(key, None)) is not None:
            self.size_bytes -= found.size_bytes

    def forget_unsigned(self, backend_id: str) -> None:
        """Let go of a backend's answers of models without a digest: others may have come in their places."""
        for key, each in list(self._kept.items()):
            if each.holder.spec.id == backend_id and each.holder.model.digest is None:
                self.forget(key)


def key_of(request: Request) -> bytes | None:
    """What stands for an exact request; None for one whose answer is not kept.

    The same bytes but for blanks, the order of settings and keep_alive. An https image may be another next time, and
    who wants the model unloaded after the answer wants more than words.
    """
    is_plain = request.load_action is None and request.spoken is None and not request.has_image_urls
    if not is_plain or request.keeps_s == 0 or len(request.body) > MOST_BODY_BYTES or not _is_deterministic(request):
        return None
    try:
        body = json.loads(request.body, object_pairs_hook=_fields)
        asked = sorted((name, value) for name, value in body.items() if name != "keep_alive")
        hints = request.hints
        frontend = None if hints.frontend is None else repr(hints.frontend)
        how = [request.api.value, request.endpoint, request.stream, hints.target, hints.include_energy, frontend]
        whole = [*how, asked]
        text = json.dumps(whole, separators=(",", ":"))
    except (ValueError, RecursionError, AttributeError):
        return None
    return blake2b(text.encode(), digest_size=32).digest()


def _fields(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object; a name that stands twice means one thing to one engine and another to the next."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _is_deterministic(request: Request) -> bool:
    """Whether the same words come again: nothing is drawn, or from the same seed."""
    try:
        content = request.content()
    except ProxyError:
        return False
    if isinstance(content, Embedding):
        return True
    known = content.options.known
    seed, temperature = known.get("seed"), known.get("temperature")
    is_seeded = isinstance(seed, int) and not isinstance(seed, bool) and seed not in _RANDOM_SEEDS
    return is_seeded or (isinstance(temperature, int | float) and temperature == 0 and temperature is not False)


class Gathering:
    """An answer on its way to its client, which may be kept once it is whole."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._events: list[Event] = []
        self.size_bytes = 0
        self._is_exact = True

    def add(self, event: Event) -> None:
        """Take note of an event; one that is too large, or was put together from two answers, is let go."""
        if not self._is_exact:
            return
        self.size_bytes += size_of(event)
        if isinstance(event, Resumed) or self.size_bytes > self._most_bytes:
            self._is_exact = False
            self._events.clear()
            return
        self._events.append(event)

    def whole(self) -> Sequence[Event] | None:
        """The events of a whole and exact answer, None of any other."""
        last = self._events[-1] if self._events else None
        if not isinstance(last, Finished) or last.reason not in _WHOLE or last.skipped_frames:
            return None
        return self._events


def size_of(event: Event) -> int:
    """About how many bytes an event takes."""
    if isinstance(event, Delta):
        words = len(event.text) + len(event.thinking) + sum(len(each.arguments) for each in event.tool_calls)
        alternatives = sum(1 + len(each.top) for each in event.logprobs or ())
        return _EVENT_BYTES * (1 + alternatives) + 4 * words + len(event.frame or b"")
    if isinstance(event, Embedded):
        return _EVENT_BYTES + _FLOAT_BYTES * sum(map(len, event.vectors))
    return _EVENT_BYTES
