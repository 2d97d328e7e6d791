"""The tokens and durations at the end of an answer: the backend's own where it told them, else our clock's."""

from ollama_proxyd.core.events import Finished
from ollama_proxyd.dialects.ollama.lines import Counters

_NS_PER_S = 1e9


def count(finished: Finished, total_ns: int, first_ns: int | None) -> Counters:
    """Every counter that is known; `first_ns` is when the first piece of the answer came.

    Where the backend timed nothing, what went by before the first piece counts as the prompt's and the rest as the
    answer's. Ollama's load_duration is what passes before the model works: waiting, choosing, loading. Where the
    backend did not tell it, it is what its own times leave of the total.
    """
    timings = finished.timings
    prompt_ns, decode_ns = _ns(timings.prompt_s), _ns(timings.decode_s)
    load_ns = _ns(timings.load_s)
    if load_ns is None and prompt_ns is not None and decode_ns is not None:
        load_ns = max(total_ns - prompt_ns - decode_ns, 0)
    if prompt_ns is None and decode_ns is None and first_ns is not None:
        prompt_ns, decode_ns = first_ns, total_ns - first_ns
    return Counters(
        total_duration=total_ns,
        load_duration=load_ns,
        prompt_eval_count=finished.usage.prompt_tokens,
        prompt_eval_duration=prompt_ns,
        eval_count=finished.usage.completion_tokens,
        eval_duration=decode_ns,
    )


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * _NS_PER_S)
