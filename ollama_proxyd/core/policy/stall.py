"""When a backend that says nothing counts as stalled, before and within an answer, by what it was seen to need."""

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.kin import own
from ollama_proxyd.core.learning import Speed, context_of
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.priors import SHORT_PROMPT_TOKENS
from ollama_proxyd.core.policy.residence import LOAD_BYTES_PER_S, TYPICAL_MODEL_BYTES
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.values import replace

ENOUGH_SAMPLES = 3
"""So many answers tell how quick a backend is with a model."""
SAFETY = 10.0
"""How many times the expected time is waited for."""
LEAST_S = 10.0
"""What is waited for at least: machines stutter."""
KNOWN_PROMPT_TOKENS = 4 * SHORT_PROMPT_TOKENS
"""Longer prompts are read at a speed that is only estimated, until one of that length has shown it."""
LONG_ANSWER_TOKENS = 512.0
"""How long an answer without a limit is taken to be at least: some are much longer than the usual one."""
LEAST_PAUSE_S = 30.0
"""What is waited for at least within an answer: the prompt of a neighbour is read meanwhile, or a context shifted."""
LEAST_WHOLE_PAUSE_S = 4.0
"""The same where an answer comes in one piece: engines begin to send it when they have it, or write on steadily."""
PAUSE_TOKENS = 100.0
"""A pause is borne for the time of so many tokens: engines send several at once, and hold back what may be a mark."""

_NOT_SEEN = Speed()


def bears(view: BackendView, ranked: Ranked, request: Request) -> Request:
    """The request with the longest pauses within its answer, streamed or in one piece; tools' calls may come whole."""
    speed = own(view.speeds.get(ranked.model, _NOT_SEEN))
    if (told_tps := _known_tps(speed)) is None:
        return replace(request, whole_pause_s=LEAST_PAUSE_S)
    own_id = view.spec.id
    tokens_s = PAUSE_TOKENS * speed.slowdown({own_id: max(view.in_flight - 1, 0)}, own_id) / told_tps
    pause_s = None if request.needs_tools else max(LEAST_PAUSE_S, tokens_s)
    return replace(request, pause_s=pause_s, whole_pause_s=max(LEAST_WHOLE_PAUSE_S, tokens_s))


def _known_tps(speed: Speed) -> float | None:
    """How fast a backend writes, once enough answers have shown it."""
    return (speed.told_tps or None) if speed.samples >= ENOUGH_SAMPLES else None


def stalled_after_s(view: BackendView, ranked: Ranked, request: Request) -> float | None:
    """After how long without a word it has stalled; None where too little is known to tell before the configured bound.

    The request has its slot there already; others under way may come first. An answer in one piece, and one that calls
    tools, may come at its end only, so its length counts as well: the client's limit, else a long one.
    """
    speed = own(view.speeds.get(ranked.model, _NOT_SEEN))
    told_tps = _known_tps(speed)
    if told_tps is None or not speed.ttft_s or not _is_reading_known(speed, request):
        return None
    token_s = 1 / told_tps
    writing_s = 0.0
    if not request.stream or request.needs_tools:
        usual = max(speed.output_tokens or 0.0, LONG_ANSWER_TOKENS)
        writing_s = token_s * (usual if request.max_tokens is None else request.max_tokens)
    load_s = TYPICAL_MODEL_BYTES / LOAD_BYTES_PER_S if view.loaded is None else ranked.stay.load_s
    others_s = max(view.in_flight - 1, 0) * (speed.ttft_s + (speed.output_tokens or 0.0) * token_s)
    reading_s = ranked.prefill_s + ranked.cached_s  # that a part is cached is a guess
    expected_s = ranked.stay.wake_s + load_s + reading_s + writing_s + others_s
    return max(LEAST_S, SAFETY * expected_s)


def _is_reading_known(speed: Speed, request: Request) -> bool:
    part = ("prefill_tps", context_of(request.prompt_tokens))
    return request.prompt_tokens <= KNOWN_PROMPT_TOKENS or (part in speed.longer and speed.is_sure(part))
