"""Writes a line of log for each request that ended; prompts and answers never stand in it."""

import logging
from collections.abc import Mapping

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.log_wish import LogWish
from ollama_proxyd.services.ledger import Outcome

log = logging.getLogger(__name__)

FAULTS = frozenset({ErrorKind.UPSTREAM_FAILED, ErrorKind.UPSTREAM_TIMEOUT, ErrorKind.INTERNAL})
"""Errors for the operator; the others are the client's own."""
_LEVELS: Mapping[LogWish | None, int] = {
    LogWish.ERROR: logging.INFO,
    LogWish.INFO: logging.INFO,
    LogWish.DEBUG: logging.INFO,
}


def note(outcome: Outcome) -> None:
    """Log an outcome: a failure as a warning, everything else for debugging, or as its client wants it."""
    wish = outcome.hints.log
    level = logging.WARNING if outcome.error in FAULTS else _LEVELS.get(wish, logging.DEBUG)
    is_unwanted = wish is LogWish.OFF or (wish is LogWish.ERROR and outcome.error is None)
    if is_unwanted or not log.isEnabledFor(level):
        return
    log.log(
        level,
        "request %s (%s%s): %s at %s after %.2f s and %d attempt%s; %s",
        outcome.request_id,
        outcome.operation.value,
        "" if outcome.hints.frontend is None else f" of the front end {outcome.hints.frontend.name}",
        _end(outcome),
        outcome.backend_id or "no backend",
        outcome.total_s,
        outcome.attempts,
        "" if outcome.attempts == 1 else "s",
        _why(outcome),
        extra={"request_id": outcome.request_id, "backend": outcome.backend_id, "mode": _mode(outcome)},
    )


def note_attempt(ended: AttemptEnded) -> None:
    """Log a failed attempt, also where another backend answered then."""
    if ended.error in FAULTS:
        log.info("request %s failed at %s (%s)", ended.request_id, ended.backend_id, _cause(ended))


def _cause(failed: AttemptEnded | Outcome) -> str:
    """The error in the words of a table, and in the backend's own where they quote nothing of the request."""
    status = f"status {failed.status}" if failed.status else None
    words = ", ".join(filter(None, (failed.error and failed.error.value, failed.code, status)))
    return f"{words}: {failed.cause}" if failed.cause else words


def _mode(outcome: Outcome) -> str | None:
    return None if outcome.decision is None else outcome.decision.effective_mode.value


def _end(outcome: Outcome) -> str:
    if outcome.cancelled:
        return "left by its client"
    went_on = f", gone on {len(outcome.resumed)} times ({', '.join(outcome.resumed)})," if outcome.resumed else ""
    if outcome.error is None:
        return f"answered{went_on}"
    stuck = "" if outcome.obstacle is None else f", cannot go on elsewhere: {outcome.obstacle.value}"
    return f"failed ({_cause(outcome)}{stuck}){went_on}"


def _why(outcome: Outcome) -> str:
    if outcome.decision is None:
        return "not routed"
    if outcome.hints.log is not LogWish.DEBUG and not log.isEnabledFor(logging.DEBUG):
        return str(outcome.decision.reason)
    ranked = next((each for each in outcome.decision.ranked if each.backend_id == outcome.backend_id), None)
    terms = "" if ranked is None else " " + " ".join(f"{name}={value:.4g}" for name, value in ranked.terms.items())
    return f"{outcome.decision.reason}{terms}"
