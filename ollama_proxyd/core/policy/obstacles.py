"""What keeps a request from every backend: how it is told, and what helps; the nearest to success counts."""

from collections.abc import Sequence
from typing import NamedTuple

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.policy.decision import Rejected
from ollama_proxyd.core.reasons import Reason


class Obstacle(NamedTuple):
    """One kind of obstacle, by the codes of the rejections that belong to it."""

    codes: frozenset[str]
    kind: ErrorKind
    advice: str | None = None
    param: str | None = None
    """The field of the request at fault, if one is."""


def _obstacle(codes: str, kind: ErrorKind, advice: str | None = None, param: str | None = None) -> Obstacle:
    return Obstacle(frozenset(codes.split()), kind, advice, param)


MORE_ROOM = "allow more in memory_budget, or take a smaller model or context"
_STRICT = "choose a mode that allows more, or leave strict limits out"

OBSTACLES: tuple[Obstacle, ...] = (
    _obstacle("set_aside being_tried", ErrorKind.UNAVAILABLE),
    _obstacle(
        "critical_heat throttling mode_temperature mode_fan", ErrorKind.UNAVAILABLE, "try again when it is cooler"
    ),
    _obstacle(
        "hint_latency", ErrorKind.LIMIT_UNMET, "raise the request's limit of latency, or leave it out", "max_latency_ms"
    ),
    _obstacle(
        "hint_power", ErrorKind.LIMIT_UNMET, "raise the request's limit of power, or leave it out", "max_power_watts"
    ),
    _obstacle("deadline deadline_of_end", ErrorKind.LIMIT_UNMET, "allow the request more time", "deadline_ms"),
    _obstacle("mode_power", ErrorKind.LIMIT_UNMET, _STRICT),
    _obstacle("game", ErrorKind.LIMIT_UNMET, "end the game, or leave strict limits out"),
    _obstacle("no_vision operation_unsupported", ErrorKind.UNSUPPORTED),
    _obstacle("never_fits", ErrorKind.NO_ROOM, MORE_ROOM),
    _obstacle("model_excluded model_too_large", ErrorKind.MODEL_NOT_FOUND),
    _obstacle("down health_unknown already_tried", ErrorKind.UNAVAILABLE),
    _obstacle(
        "disabled", ErrorKind.BACKEND_NOT_FOUND, "switch it on with: ollama-proxyctl backends enable {backend_id}"
    ),
    _obstacle("image_urls_refused", ErrorKind.UNSUPPORTED),
    _obstacle("model_not_of_frontend", ErrorKind.MODEL_NOT_FOUND, param="model"),
    _obstacle("model_not_held", ErrorKind.MODEL_NOT_FOUND, param="model"),
    _obstacle("not_of_frontend", ErrorKind.UNAVAILABLE),
)
"""The nearest to success first: one backend that is only busy makes the refusal a matter of time."""


_NOT_UP = frozenset({"down", "health_unknown", "disabled"})


def nearest(rejected: Sequence[Rejected], target: str | None) -> tuple[Obstacle, tuple[Reason, ...]] | None:
    """The obstacle that decides, and the rejections that belong to it; None where no backend is concerned.

    A backend that is not up and did not hold the model counts only where all are like that. One that is no longer
    configured counts only for who names it.
    """
    concerned = [
        each.rejections
        for each in rejected
        if each.backend_id == target or (target is None and not any(map(is_removed, each.rejections)))
    ]
    decisive = [nos[0] for nos in concerned if not _is_useless(nos)] or [nos[0] for nos in concerned]
    for obstacle in OBSTACLES:
        if found := [each for each in decisive if each.code in obstacle.codes]:
            return obstacle, tuple({str(each): each for each in found}.values())
    return None


def is_removed(no: Reason) -> bool:
    """Whether a backend is no longer configured, and shown while its last answers go on."""
    cause = no.values.get("reason")
    return isinstance(cause, Reason) and cause.code == "backend_removed"


def _is_useless(rejections: Sequence[Reason]) -> bool:
    return rejections[0].code in _NOT_UP and any(each.code == "model_not_held" for each in rejections)
