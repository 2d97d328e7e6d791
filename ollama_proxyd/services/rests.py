"""When backends take requests again that their rate limits keep away: nothing but time changes then."""

import math
from collections.abc import AsyncGenerator
from functools import partial
from operator import is_not

from ollama_proxyd.core.breaker import rest_left_s
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.watching import first_of


async def rest_ends(views: Cell[FleetView], clock: Clock) -> AsyncGenerator[None, None]:
    """Yield each time that a rest has ended; never ends."""
    over_s = math.inf
    async for _ in views.changes():
        is_resting = True
        while is_resting:
            seen, now_s = views.value, clock.monotonic()
            if now_s >= over_s:
                yield
            left_s = [rest_left_s(view.breakers, now_s) for view in seen if view.breakers]
            over_s = now_s + min(filter(None, left_s), default=math.inf)
            if is_resting := over_s < math.inf:
                await first_of(clock.sleep(over_s - now_s), views.until(partial(is_not, seen)))
