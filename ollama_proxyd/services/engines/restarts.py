"""Starts an engine again that something else ended while it loaded."""

from collections.abc import Awaitable, Callable
from typing import Final

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import Probe
from ollama_proxyd.services.engines.running import Running
from ollama_proxyd.services.ports import Clock

PAUSES_S: Final = (0.5, 1.5, 4.0)
"""Before each further start; who waits for the model waits on meanwhile."""


async def started(
    running: Running, start: Callable[[], Awaitable[Probe]], clock: Clock, note: Callable[[Running, ProxyError], None]
) -> Probe:
    """Have it started, as often as it is worth it; raises ProxyError, `note` having each one before the last."""
    for pause_s in PAUSES_S:
        try:
            return await start()
        except ProxyError as error:
            if not _may_load_again(running):
                raise
            running.process = None
            note(running, error)
            await clock.sleep(pause_s)
            if not running.users:
                raise
    return await start()


def _may_load_again(running: Running) -> bool:
    """Whether its program did not give up by itself, and somebody waits for it."""
    return running.end is not None and not running.end.has_failed and running.users > 0
