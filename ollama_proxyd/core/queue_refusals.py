"""What a request is told that may not wait, or has waited for too long."""

from typing import Final

from ollama_proxyd.core.errors import DEADLINE_EXCEEDED, ErrorKind, ProxyError

QUEUE_FULL: Final = "queue_full"
QUEUE_TIMEOUT: Final = "queue_timeout"
SOONEST_RETRY_S: Final = 1.0


def queue_full(option: str, waiting: int, place: int, wait_s: float) -> ProxyError:
    """So many wait as an option allows; the request would have had this place, and waited so long."""
    message = (
        f"{waiting} requests wait already, the most that {option} allows; "
        f"this one would have place {place} and wait about {wait_s:.0f} s; try again later"
    )
    retry_s = max(wait_s / (waiting + 1), SOONEST_RETRY_S)
    return ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=retry_s, code=QUEUE_FULL)


def queue_timeout(waited_s: float, left_s: float | None) -> ProxyError:
    """It has waited until its own deadline, else for the longest that is allowed."""
    if left_s is not None and waited_s >= left_s:
        message = f"the request waited {waited_s:.1f} s for a backend, until deadline_ms"
        return ProxyError(ErrorKind.UPSTREAM_TIMEOUT, message, param="deadline_ms", code=DEADLINE_EXCEEDED)
    message = f"no backend was free for {waited_s:.0f} s, the longest that routing.queue.max_wait_s allows"
    return ProxyError(ErrorKind.UNAVAILABLE, message, retry_after_s=SOONEST_RETRY_S, code=QUEUE_TIMEOUT)
