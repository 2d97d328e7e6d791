"""When a backend that has not begun to answer counts as stalled, by what it was seen to need."""

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.priors import SHORT_PROMPT_TOKENS
from ollama_proxyd.core.policy.residence import LOAD_BYTES_PER_S, TYPICAL_MODEL_BYTES
from ollama_proxyd.core.requests import Request

ENOUGH_SAMPLES = 3
"""So many answers tell how quick a backend is with a model."""
SAFETY = 10.0
"""How many times the expected time is waited for."""
LEAST_S = 10.0
"""What is waited for at least: machines stutter."""
KNOWN_PROMPT_TOKENS = 4 * SHORT_PROMPT_TOKENS
"""Longer prompts are read at a speed that is only estimated."""


def stalled_after_s(view: BackendView, ranked: Ranked, request: Request) -> float | None:
    """After how long without a word it has stalled; None where too little is known to tell before the configured bound.

    The request has its slot there already; others under way may come first. An answer in one piece, and one that calls
    tools, may come at its end only, so its length counts as well, and has to be known.
    """
    speed = view.speeds.get(ranked.model)
    if speed is None or speed.samples < ENOUGH_SAMPLES or not speed.decode_tps or not speed.ttft_s:
        return None
    if request.prompt_tokens > KNOWN_PROMPT_TOKENS:
        return None
    writing_s = 0.0
    if not request.stream or request.needs_tools:
        if request.max_tokens is None:
            return None
        writing_s = request.max_tokens / speed.decode_tps
    terms = ranked.terms
    load_s = TYPICAL_MODEL_BYTES / LOAD_BYTES_PER_S if view.loaded is None else terms["load_s"]
    others_s = max(view.in_flight - 1, 0) * (speed.ttft_s + (speed.output_tokens or 0.0) / speed.decode_tps)
    expected_s = terms["wake_s"] + load_s + terms["prefill_s"] + writing_s + others_s
    return max(LEAST_S, SAFETY * expected_s)
