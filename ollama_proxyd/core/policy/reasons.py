"""Why a decision was taken, in one readable sentence with the numbers."""

from collections.abc import Sequence

from ollama_proxyd.core.modes import Mode, ModeSetting
from ollama_proxyd.core.policy.cost import Demand
from ollama_proxyd.core.policy.decision import Ranked, Rejected, Rejection
from ollama_proxyd.core.policy.decision import RejectionCode as Code
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Operation

_ADVICE = {
    Code.MODE_POWER: "choose a mode that allows more, or name a backend as the target",
    Code.MODE_CONCURRENCY: "try again, choose another mode, or name a backend as the target",
    Code.GAME: "end the game, or name a backend as the target",
    Code.HINT_POWER: "raise the request's limit of power",
    Code.HINT_LATENCY: "raise the request's limit of latency",
    Code.DEADLINE: "allow the request more time",
}
_SHOWN = 6
"""How many rejections a sentence bears."""


def why_chosen(query: Query, setting: ModeSetting, asked: Demand, ranked: Sequence[Ranked]) -> str:
    """Why the first of the ranked backends was chosen."""
    best = ranked[0]
    waiting_s = best.terms["queue_wait_s"]
    waiting = f" ({_figure(waiting_s)} s of it in the queue)" if waiting_s else ""
    about = "an estimated " if best.is_guess else ""
    time_s = f"{_figure(best.terms['time_s'])} s{waiting}"
    need = f"needs {about}{_figure(best.energy_j)} J and {time_s} for {_work(query, asked)}"
    if query.hints.target is not None:
        return f"the request names {best.backend_id}, which {need}"
    return f"{_mode(setting, _wish(query, setting, asked))}: {best.backend_id} {need}; {_rival(ranked)}"


def why_none(query: Query, setting: ModeSetting, rejected: Sequence[Rejected]) -> str:
    """Why no backend can serve a request, and what to do about it where somebody can."""
    if not rejected:
        return "no backend is configured, and none was found yet"
    decisive = _decisive(query, rejected)
    if not decisive:
        return f"no backend is called {query.hints.target!r}"
    codes = list(dict.fromkeys(no.code for no in decisive))
    if codes == [Code.MODEL_NOT_HELD] and query.hints.target is None and query.model is not None:
        return f"no backend holds {query.model!r}"
    messages = list(dict.fromkeys(no.message for code in codes for no in decisive if no.code is code))
    more = [f"and {len(messages) - _SHOWN} more"] if len(messages) > _SHOWN else []
    advice = [_ADVICE[code] for code in codes if code in _ADVICE]
    why = "; ".join((*messages[:_SHOWN], *more, *advice))
    return why if query.hints.target is not None else f"{_mode(setting, '')}: nothing can serve this: {why}"


def _decisive(query: Query, rejected: Sequence[Rejected]) -> list[Rejection]:
    """The first rule against each backend, or against the target alone."""
    target = query.hints.target
    return [each.rejections[0] for each in rejected if target is None or each.backend_id == target]


def _work(query: Query, asked: Demand) -> str:
    if query.operation is Operation.EMBEDDING:
        return f"embedding about {asked.prompt_tokens:.0f} tokens"
    return f"about {asked.output_tokens:.0f} tokens"


def _rival(ranked: Sequence[Ranked]) -> str:
    if len(ranked) == 1:
        return "nothing else can serve this now"
    rival = ranked[1]
    return f"next is {rival.backend_id} with {_figure(rival.energy_j)} J and {_figure(rival.terms['time_s'])} s"


def _wish(query: Query, setting: ModeSetting, asked: Demand) -> str:
    """In which respect the request's own price of time differs from the mode's."""
    if asked.price_of_time_w == setting.row.price_of_time_w:
        return ""
    if asked.price_of_time_w:
        return "latency-critical"
    return "power-efficient" if query.hints.power_efficient else "in the background"


def _mode(setting: ModeSetting, wish: str) -> str:
    label = setting.row.label
    if setting.wanted is Mode.AUTO:
        return f"Auto ({label}, {wish})" if wish else f"Auto ({label})"
    return f"{label} ({wish})" if wish else label


def _figure(number: float) -> str:
    """A number with as many digits as a person reads at a glance."""
    return f"{number:.0f}" if number >= 99.5 else f"{number:.2g}"
