"""What is kept of each attempt and each request: figures and names, never a word of a prompt or an answer."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import TypeAlias

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy import Energy, Source
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import FinishReason, Timings, Usage
from ollama_proxyd.core.policy.decision import MOST_ALTERNATIVES, Decision, Ranked
from ollama_proxyd.core.programs import KnownBy, Program
from ollama_proxyd.core.requests import Json, Operation
from ollama_proxyd.core.values import value

MOST_NAME_CHARACTERS = 200
MOST_WHOLE = 2**53
OK = "ok"
CACHED = "cached"
"""The result of a request that got a kept answer; `saved_j` is then what that had cost."""

Values: TypeAlias = Mapping[str, Json]
"""A row by its columns; a mapping or a sequence in it is kept as JSON."""


@value
class Row:
    """A row of a table."""

    table: str
    values: Values


MakeRow: TypeAlias = Callable[[], Row]
"""Makes a row of a fact when it is written."""


def attempt_row(ended: AttemptEnded, unix_s: float, hardware: str) -> Row:
    """The row of an attempt that ended at this time."""
    values = {"unix_s": unix_s, "hardware": hardware, **_told(ended), **_measured(ended), **decided(ended.decision)}
    return Row("attempts", values)


def _told(ended: AttemptEnded) -> dict[str, Json]:
    """Who asked what of whom, and how that ended."""
    return {
        "backend": ended.backend_id,
        "model": name(ended.model),
        "operation": ended.operation._value_,
        "program": name(ended.program.name),
        "program_known_by": ended.program.known_by._value_,
        "stream": int(ended.stream),
        "spent": number(ended.spent) or 0.0,
        "currency": ended.currency if ended.spent else "",
        "result": _result(ended),
        "error": None if ended.error is None else ended.error._value_,
        "fault": None if ended.fault is None else ended.fault._value_,
        "status": count(ended.status),
        "finish": None if ended.finish is None else ended.finish._value_,
        "resumed": int(ended.resumed),
    }


def _measured(ended: AttemptEnded) -> dict[str, Json]:
    """Tokens, seconds and joules; `total_s` and the seconds after it are by the engine's own clock."""
    usage, timings, energy = ended.usage, ended.timings, ended.energy
    return {
        "estimated_prompt_tokens": count(ended.prompt_tokens),
        "prompt_tokens": count(usage.prompt_tokens),
        "completion_tokens": count(usage.completion_tokens),
        "cached_tokens": count(usage.cached_tokens),
        "neighbours": ended.neighbours,
        "busy_s": ended.busy_s,
        "first_words_s": None if ended.first_s is None else ended.first_s - ended.begun_s,
        "total_s": number(timings.total_s),
        "load_s": number(timings.load_s),
        "prompt_s": number(timings.prompt_s),
        "decode_s": number(timings.decode_s),
        "prefill_j": number(energy.prefill_j) or 0.0,
        "decoding_j": number(energy.decode_j) or 0.0,
        "load_j": number(energy.load_j) or 0.0,
        "energy_source": energy.source._value_,
        "energy_error": number(energy.error_share),
    }


def decided(decision: Decision | None) -> Values:
    """What a decision foresaw of the backend that was chosen, and of the others that were priced."""
    if decision is None or not decision.ranked:
        return {}
    ranked = decision.settled.ranked
    return {
        "mode": decision.mode._value_,
        "effective_mode": decision.effective_mode._value_,
        "expected_tokens": number(decision.expected_tokens),
        "predicted": _terms(ranked[0]),
        "alternatives": [_alternative(each) for each in ranked[1 : MOST_ALTERNATIVES + 1]],
    }


def ended_of(values: Values, since_s: float) -> AttemptEnded:
    """The attempt of a row on the monotonic clock, which began at `since_s`; its decision is not restored."""
    ended_s = float(values["unix_s"]) - since_s
    begun_s = ended_s - float(values["busy_s"])
    waited_s, error, finish = values["first_words_s"], values["error"], values["finish"]
    return AttemptEnded(
        backend_id=values["backend"],
        model=values["model"],
        operation=Operation(values["operation"]),
        request_id="",
        begun_s=begun_s,
        ended_s=ended_s,
        first_s=None if waited_s is None else begun_s + waited_s,
        prompt_tokens=values["estimated_prompt_tokens"],
        stream=bool(values["stream"]),
        error=None if error is None else ErrorKind(error),
        status=values["status"],
        usage=Usage(values["prompt_tokens"], values["completion_tokens"], values["cached_tokens"]),
        timings=Timings(values["total_s"], values["load_s"], values["prompt_s"], values["decode_s"]),
        finish=None if finish is None else FinishReason(finish),
        energy=_energy(values),
        neighbours=values["neighbours"],
        cancelled=values["result"] == "cancelled",
        displaced=values["result"] == "displaced",
        moved=values["result"] == "moved",
        resumed=bool(values["resumed"]),
        program=Program(values["program"], KnownBy(values["program_known_by"])),
    )


def name(text: str) -> str:
    """A name from outside, cut to a bound, in characters that every file takes."""
    return text[:MOST_NAME_CHARACTERS].encode("utf-8", "replace").decode()


def number(value: float | None) -> float | None:
    """A figure that has a value: what an engine says of itself may be none."""
    return value if value is not None and isfinite(value) else None


def count(value: int | None) -> int | None:
    """A count that a file can keep."""
    return None if value is None else max(min(value, MOST_WHOLE), 0)


def _energy(values: Values) -> Energy:
    source = Source(values["energy_source"])
    return Energy(values["prefill_j"], values["decoding_j"], values["load_j"], source, values["energy_error"])


def _result(ended: AttemptEnded) -> str:
    if ended.error is not None:
        return ended.error._value_
    if ended.cancelled:
        return "cancelled"
    return "displaced" if ended.displaced else "moved" if ended.moved else OK


def _terms(ranked: Ranked) -> Json:
    """Each term that is not zero, to four digits."""
    return {name: _short(value) for name, value in ranked.terms.items() if value and isfinite(value)}


def _alternative(ranked: Ranked) -> Json:
    figures = {"energy_j": ranked.energy_j, "time_s": ranked.time_s, "cost_j": ranked.cost_j}
    shown = {key: _short(value) for key, value in figures.items() if isfinite(value)}
    return {"backend": ranked.backend_id, "model": name(ranked.model), **shown}


@lru_cache(maxsize=1024)
def _short(value: float) -> float:
    return float(f"{value:.4g}")
