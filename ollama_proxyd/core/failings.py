"""What is wrong with a backend by its breakers, in words."""

from collections.abc import Mapping

from ollama_proxyd.core.breaker import LACKS, Breaker, Breakers, Phase
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.faults import Fault, fault_of
from ollama_proxyd.core.reasons import Reason

_WHAT: Mapping[Fault, str] = {
    Fault.REFUSED: "fails_refused",
    Fault.RESET: "fails_reset",
    Fault.PROCESS_ENDED: "fails_process_ended",
    Fault.STALLED: "fails_stalled",
    Fault.SERVER_ERROR: "fails_server_error",
    Fault.OUT_OF_MEMORY: "fails_out_of_memory",
    Fault.DEVICE_LOST: "fails_device_lost",
    Fault.BUSY: "fails_busy",
    Fault.RATE_LIMIT: "rate_limit_reached",
    Fault.KEY_REJECTED: "fails_key_rejected",
    Fault.NO_CREDIT: "fails_no_credit",
    Fault.MODEL_GONE: "fails_model_gone",
    Fault.NOT_LOADED: "fails_not_loaded",
    Fault.CONTEXT_TOO_SMALL: "lacks_context",
    Fault.NO_TOOLS: "lacks_tools",
    Fault.NO_VISION: "lacks_vision",
    Fault.NO_FEATURE: "lacks_feature",
    Fault.NO_OPERATION: "lacks_operation",
}

KEY_REJECTED = Reason(_WHAT[Fault.KEY_REJECTED])
"""Why a backend is down that is there, and waits for a person."""


_ERRORS = range(400, 600)
"""A success with something that is no answer is an error without a status of its own."""


def what_fails(breaker: Breaker) -> Reason:
    """What a backend does wrong, in words."""
    if breaker.is_named and breaker.fault is Fault.BUSY:
        return Reason("rate_limited")
    return Reason(
        _WHAT[breaker.fault],
        model=breaker.model,
        status=breaker.status if breaker.status in _ERRORS else None,
        failures=breaker.failures if breaker.failures > 1 else None,
        prompt_tokens=breaker.work.prompt_tokens if breaker.fault is Fault.CONTEXT_TOO_SMALL else None,
        operation=breaker.work.operation.value if breaker.fault is Fault.NO_OPERATION else None,
    )


def worst(breakers: Breakers) -> Breaker | None:
    """The failure that a person should hear of first: that of the whole backend before that of one model."""
    shown = [each for each in breakers if each.phase is not Phase.CLOSED and each.fault not in _NO_FAILURES]
    return min(shown, key=lambda each: (each.model is not None, -each.retry_at_s), default=None)


_NO_FAILURES = LACKS | {Fault.BUSY, Fault.RATE_LIMIT}


def why_failing(breaker: Breaker, now_s: float | None = None) -> Reason:
    """Why a backend that is up does not serve, or not every model; until its next try where the time is given."""
    left_s = None if now_s is None else breaker.left_s(now_s)
    return Reason("failing", reason=what_fails(breaker), left_seconds=left_s or None)


def why_down(backend_id: str, error: ProxyError) -> Reason:
    """Why a backend is down; who says so names it already."""
    if fault_of(error) is Fault.KEY_REJECTED:
        return KEY_REJECTED
    return Reason("backend_down", detail=error.message.removeprefix(f"backend {backend_id} at "))
