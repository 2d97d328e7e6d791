"""Owns the efficiency mode: what was chosen, what Auto makes of it, and that the choice survives a restart."""

import logging

from ollama_proxyd.core.modes import AutoSettings, Mode, ModeSetting, ModeTable, choose
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import StateStore

log = logging.getLogger(__name__)

STATE_KEY = "mode"


class Governor:
    """The one owner of the mode."""

    def __init__(self, table: ModeTable, auto: AutoSettings, default: Mode, store: StateStore) -> None:
        self._table = table
        self._auto = auto
        self._store = store
        self._system = SystemState()
        self._chosen = self._restored(default)
        self.setting: Cell[ModeSetting] = Cell(self._resolve())

    @property
    def table(self) -> ModeTable:
        """What each mode asks for."""
        return self._table

    def select(self, mode: Mode) -> ModeSetting:
        """Put a mode in force and keep it over restarts.

        A state file that cannot be written is logged: the mode is in force all the same.
        """
        self._chosen = mode
        self.setting.set(self._resolve())
        try:
            self._store.save({**self._store.load(), STATE_KEY: mode.value})
        except OSError as error:
            log.warning("mode %s is in force but could not be saved and ends with this process: %s", mode.value, error)
        return self.setting.value

    def imagine(self, mode: Mode | None = None, system: SystemState | None = None) -> ModeSetting:
        """What would be in force under another mode or another state of the machine, without any effect."""
        return choose(mode or self._chosen, system or self._system, self._table, self._auto)

    def observe(self, system: SystemState) -> None:
        """Take note of the machine's state; Auto may change what it makes of it."""
        self._system = system
        self.setting.set(self._resolve())

    def reconfigure(self, table: ModeTable, auto: AutoSettings) -> None:
        """Apply a new table of modes and new numbers for Auto; the chosen mode stays."""
        self._table = table
        self._auto = auto
        self.setting.set(self._resolve())

    def _resolve(self) -> ModeSetting:
        return choose(self._chosen, self._system, self._table, self._auto)

    def _restored(self, default: Mode) -> Mode:
        saved = self._store.load().get(STATE_KEY)
        if saved is None:
            return default
        try:
            return Mode(saved)
        except ValueError:
            log.warning("the saved mode %r is not known; starting with %s", saved, default.value)
            return default
