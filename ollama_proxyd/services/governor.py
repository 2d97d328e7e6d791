"""Owns the efficiency mode: what was chosen and kept over restarts, what programs hold, what Auto makes of it."""

import logging
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from operator import ne
from typing import Any

from ollama_proxyd.core.auto import AS_ASKED, AS_CHOSEN, AT_FIRST, CHARGED, NONE_CHOSEN, choose, imagined, step
from ollama_proxyd.core.budget import capped
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.holds import MOST_OF_ONE, Hold, program_of, thriftiest
from ollama_proxyd.core.modes import Mode, ModeSetting, ModeTable, row_in_force
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.services.cell import Cell, Topic
from ollama_proxyd.services.ports import Clock, StateStore
from ollama_proxyd.services.settings import ModeSettings
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import first_of

log = logging.getLogger(__name__)

STATE_KEY = "mode"
OVERRULED_KEY = "cap_overruled_on"
"""The date on which a person chose a mode in spite of a cap."""


class Governor:
    """The one owner of the mode and of the holds above it.

    Of several holds the thriftiest counts; choosing a mode by hand ends them all, as in power-profiles-daemon.
    A cap has Ultra Efficiency in force above all of it, until a person chooses a mode that day.
    `released` tells the end of each hold once, however it came about.
    """

    def __init__(self, settings: ModeSettings, default: Mode, store: StateStore, clock: Clock) -> None:
        self.modes: Cell[ModeSettings] = Cell(settings)
        self._store = store
        self._clock = clock
        self._system = SystemState()
        self._auto = AT_FIRST
        saved = self._restored()
        self._chosen = saved or default
        self._why = AS_CHOSEN if saved else NONE_CHOSEN
        self._cap: Reason | None = None
        self._last_cookie = 0
        self._due: Cell[float | None] = Cell(None)
        self.holds: Cell[tuple[Hold, ...]] = Cell(())
        self.is_charging: Cell[bool] = Cell(False)
        self.released: Topic[Hold] = Topic()
        self.setting: Cell[ModeSetting] = Cell(self._resolve())

    @property
    def table(self) -> ModeTable:
        """What each mode asks for."""
        return self.modes.value.table

    def select(self, mode: Mode) -> ModeSetting:
        """Put a mode in force, end every hold, and keep the mode over restarts."""
        if mode is Mode.AUTO and self._chosen is not Mode.AUTO:
            self._auto = AT_FIRST
        self._chosen, self._why = mode, AS_CHOSEN
        if self._cap is not None:
            self._store.put(OVERRULED_KEY, str(self._clock.local_date()))
        self._end(self.holds.value)
        self._store.put(STATE_KEY, mode.value)
        return self.setting.value

    def hold(
        self,
        mode: Mode,
        reason: str,
        application_id: str,
        owner: str,
        lasts_s: float | None = None,
        *,
        until_charged: bool = False,
    ) -> Hold:
        """Have a mode stand above the chosen one until it is released, for `lasts_s` at most.

        Raises ProxyError where that cannot be.
        """
        if until_charged and not self.is_charging.value:
            message = "the battery is not being charged now, so nothing can be held until it is full"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message)
        if mode is Mode.AUTO:
            message = "Auto cannot be held, because it is a choice between the others; hold one of those"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="mode")
        lasts_s = self._lasting(lasts_s)
        limit = self.modes.value.max_holds
        if len(self.holds.value) >= limit:
            message = f"{limit} programs hold a mode already, the most that efficiency.max_holds allows"
            raise ProxyError(ErrorKind.OVERLOADED, message)
        if sum(each.program == program_of(owner) for each in self.holds.value) >= MOST_OF_ONE:
            message = f"you hold {MOST_OF_ONE} modes already, the most for one program; release one first"
            raise ProxyError(ErrorKind.OVERLOADED, message)
        self._last_cookie += 1
        until_s, ends_unix_s = self._passed_s + lasts_s, self._clock.unix() + lasts_s
        words = sanitize_line(reason), sanitize_line(application_id)
        hold = Hold(self._last_cookie, mode, *words, owner, until_s, ends_unix_s, until_charged)
        self.holds.set((*self.holds.value, hold))
        self._apply()
        return hold

    def _lasting(self, asked_s: float | None) -> float:
        """How long a hold lasts at most."""
        longest_s = self.modes.value.max_hold_s
        if asked_s is None or 0 < asked_s <= longest_s:
            return asked_s or longest_s
        message = f"seconds must be above 0 and at most {longest_s:g} (efficiency.max_hold_s), not {asked_s:g}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="seconds")

    def release(self, cookie: int, owner: str) -> None:
        """End a hold at its owner's wish; raises ProxyError when it is not theirs or has ended."""
        theirs = tuple(hold for hold in self.holds.value if hold.cookie == cookie and hold.owner == owner)
        if not theirs:
            raise ProxyError(ErrorKind.INVALID_REQUEST, f"you have no hold with the cookie {cookie}", param="cookie")
        self._end(theirs)

    def release_all(self, owner: str) -> None:
        """End the holds of an owner that has gone."""
        self._end(tuple(hold for hold in self.holds.value if hold.owner == owner))

    def imagine(self, mode: Mode | None = None, system: SystemState | None = None) -> ModeSetting:
        """What would be in force under another mode or another state of the machine, without any effect."""
        now = self.setting.value
        wanted = mode or now.wanted
        cap = None if mode is not None else self._cap_in_force
        if system is None and wanted is now.wanted and cap is self._cap_in_force:
            return now
        setting = choose(wanted, system or self._system, self.modes.value.table, self.modes.value.auto)
        setting = imagined(setting, now.reason if wanted is now.wanted and mode is None else AS_ASKED, system)
        return capped(setting, cap, self.modes.value.table)

    def cap(self, why: Reason | None) -> None:
        """Have Ultra Efficiency in force for a reason, until None ends it."""
        if why != self._cap:
            self._cap = why
            self._apply()

    @property
    def is_cap_overruled(self) -> bool:
        """Whether a person chose a mode today after a cap came, which then counts until midnight."""
        return bool(self._store.get(OVERRULED_KEY) == str(self._clock.local_date()))

    @property
    def _cap_in_force(self) -> Reason | None:
        return None if self._cap is None or self.is_cap_overruled else self._cap

    def observe(self, system: SystemState) -> None:
        """Take note of the machine's state; Auto may change what it makes of it."""
        self._system = system
        self._apply()
        state = known(system.battery_state)
        self.is_charging.set(state == "charging")
        over = tuple(hold for hold in self.holds.value if hold.until_charged)
        is_over = known(system.on_battery) is True or state in CHARGED
        if over and is_over:
            self._end(over)

    def reconfigure(self, settings: ModeSettings) -> None:
        """Apply a new table of modes and new numbers for Auto; the chosen mode and the holds stay."""
        self.modes.set(settings)
        self._apply()

    def tune(self, tuning: Tuning) -> None:
        """Apply changed numbers of Auto."""
        self.reconfigure(replace(self.modes.value, auto=tuning.of_auto(self.modes.value.auto)))

    def follow(self, system: Cell[SystemState], tasks: Tasks) -> None:
        """Follow the machine from now on."""
        tasks.start("mode", system.follow(self.observe))
        tasks.start("dwell", self._keep_time())

    async def _keep_time(self) -> None:
        """Make the changes of Auto that wait, when they are due."""
        while True:
            due_s = self._due.value
            waits: list[Coroutine[Any, Any, None]] = [self._due.until(partial(ne, due_s))]
            if due_s is not None:
                waits.append(self._clock.sleep(max(due_s - self._clock.monotonic(), 0)))
            await first_of(*waits)
            self._end_overdue()

    @property
    def _passed_s(self) -> float:
        """The time that goes on while the machine sleeps: who holds a mode for an hour means the hour of people."""
        return self._clock.monotonic() + self._clock.slept_s()

    def wake(self, _: object) -> None:
        """The machine may have slept: find out what is over."""
        self._apply()

    def _end_overdue(self) -> None:
        now_s = self._passed_s
        overdue = tuple(hold for hold in self.holds.value if hold.until_s <= now_s)
        for hold in overdue:
            log.info("the hold of %s by %s has lasted as long as it may", hold.mode.value, _holder(hold))
        self._end(overdue)

    def _end(self, ended: tuple[Hold, ...]) -> None:
        self.holds.set(tuple(hold for hold in self.holds.value if hold not in ended))
        self._apply()
        for hold in ended:
            self.released.publish(hold)

    def _apply(self) -> None:
        """Work out anew what is in force."""
        self.setting.set(self._resolve())
        ends_s = (hold.until_s - self._clock.slept_s() for hold in self.holds.value)
        self._due.set(min((each for each in (self._auto.due_s, *ends_s) if each is not None), default=None))

    def _resolve(self) -> ModeSetting:
        hold = thriftiest(self.holds.value)
        wanted = self._chosen if hold is None else hold.mode
        if Mode.AUTO in {self._chosen, wanted}:
            self._auto = step(self._auto, self._system, self._clock.monotonic(), self.modes.value.auto)
        effective, reason = wanted, self._why
        if wanted is Mode.AUTO:
            effective, reason = self._auto.mode, self._auto.reason
        if hold is not None:
            reason = _held(hold)
        held = None if hold is None else hold.mode
        row = row_in_force(wanted, effective, self.modes.value.table)
        return capped(ModeSetting(self._chosen, effective, reason, row, held), self._cap_in_force, self.table)

    def _restored(self) -> Mode | None:
        """The mode that a person chose in an earlier life of the daemon."""
        saved = self._store.get(STATE_KEY)
        try:
            return None if saved is None else Mode(saved)
        except ValueError:
            log.warning("the saved mode %r is not known; starting with the default", saved)
            return None


def _held(hold: Hold) -> Reason:
    return Reason("held", application_id=_holder(hold), detail=hold.reason or None)


def _holder(hold: Hold) -> str:
    return hold.application_id or "a program"
