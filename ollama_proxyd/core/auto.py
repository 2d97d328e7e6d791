"""The Auto mode as a pure step: it changes when the machine does, not twice in a short time, and at once to protect."""

from dataclasses import dataclass, replace

from ollama_proxyd.core.auto_rules import NOTHING_KNOWN, judge
from ollama_proxyd.core.modes import THRIFT, Mode, ModeSetting, ModeTable, row_in_force
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.thresholds import NOTHING_PAST, AutoSettings, Past, Threshold, thresholds_past

PROTECTS = frozenset({Threshold.CRITICAL_BATTERY, Threshold.CRITICAL_HEAT})
"""What a thriftier mode does not wait for."""


@dataclass(frozen=True, slots=True)
class AutoState:
    """What Auto has made of the machine so far.

    `reason` is true at the time of the last step. `changed_s` is when the mode changed last, None before the first
    change. `due_s` is when a change that waits will be made, None where none waits.
    """

    mode: Mode = NOTHING_KNOWN.mode
    reason: Reason = NOTHING_KNOWN.reason
    past: Past = NOTHING_PAST
    changed_s: float | None = None
    due_s: float | None = None


AT_FIRST = AutoState()
AS_CHOSEN = Reason("as_chosen")


def step(state: AutoState, system: SystemState, now_s: float, settings: AutoSettings) -> AutoState:
    """What Auto makes of the machine now; `now_s` never goes back."""
    past = thresholds_past(system, settings, state.past)
    verdict = judge(system, settings, past)
    if verdict.mode is state.mode:
        return AutoState(state.mode, verdict.reason, past, state.changed_s)
    due_s = now_s if state.changed_s is None else state.changed_s + settings.dwell_s
    if now_s >= due_s or _must_protect(state.mode, verdict.mode, past):
        return AutoState(verdict.mode, verdict.reason, past, now_s)
    reason = Reason(
        "mode_change_pending",
        mode=state.mode.value,
        dwell_seconds=settings.dwell_s,
        next_mode=verdict.mode.value,
        reason=verdict.reason,
    )
    return replace(state, reason=reason, past=past, due_s=due_s)


def choose(chosen: Mode, system: SystemState, table: ModeTable, auto: AutoSettings) -> ModeSetting:
    """What a choice means at this moment alone, without memory of the moments before."""
    if chosen is not Mode.AUTO:
        return ModeSetting(chosen, chosen, AS_CHOSEN, table[chosen])
    verdict = judge(system, auto)
    return ModeSetting(chosen, verdict.mode, verdict.reason, row_in_force(chosen, verdict.mode, table))


def _must_protect(before: Mode, after: Mode, past: Past) -> bool:
    return bool(PROTECTS & past) and THRIFT.index(after) > THRIFT.index(before)
