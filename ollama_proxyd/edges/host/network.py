"""Asks NetworkManager whether the connection is metered, when something large is about to be fetched."""

import logging
from typing import Final

from ollama_proxyd.edges.plumbing.dbus import Target
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.dbus_properties import PROPERTIES

log = logging.getLogger(__name__)

NAME: Final = "org.freedesktop.NetworkManager"
ROOT: Final = Target(NAME, "/org/freedesktop/NetworkManager", PROPERTIES)
METERED: Final = {1: True, 2: False, 3: True, 4: False}
"""NMMetered: yes, no, and its guesses; 0 is unknown."""


class SystemNetwork:
    """NetworkManager on the system bus."""

    def __init__(self, line: BusLine) -> None:
        self._line = line

    async def is_metered(self) -> bool | None:
        """Whether it is paid by the byte; None where NetworkManager does not say, or is not there."""
        try:
            (value,) = await (await self._line.bus()).call(ROOT, "Get", "ss", [NAME, "Metered"])
        except OSError as error:
            log.debug("whether the connection is metered is not known: %s", error)
            return None
        return METERED.get(value.value)
