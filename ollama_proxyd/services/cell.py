"""How state and facts travel inside the process: the latest value, and what happened."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Told(Generic[T]):
    """What listeners hear, each in the same step."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[T], None], ...] = ()

    def listen(self, listener: Callable[[T], None]) -> Callable[[], None]:
        """Hear all from now on; a listener returns at once. Returns what ends it."""
        self._listeners = (*self._listeners, listener)

        def stop() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return stop


class Cell(_Told[T]):
    """The latest immutable value of something that one owner sets and others read or follow."""

    __slots__ = ("_changed", "value")

    def __init__(self, value: T) -> None:
        super().__init__()
        self.value = value
        """The value now; `set` replaces it."""
        self._changed: asyncio.Event | None = None

    def set(self, value: T) -> None:
        """Replace the value; followers hear of it only if it differs."""
        if value != self.value:
            self.renew(value)

    def renew(self, value: T) -> None:
        """Replace the value by one that is known to differ."""
        self.value = value
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        for listener in self._listeners:
            listener(value)

    async def changes(self) -> AsyncGenerator[T, None]:
        """The value now, then each new one; a slow follower sees the latest and skips what lay between."""
        seen = self.value
        yield seen
        while True:
            while self.value is seen:
                if self._changed is None:
                    self._changed = asyncio.Event()
                await self._changed.wait()
            seen = self.value
            yield seen

    async def until(self, is_wanted: Callable[[T], bool]) -> None:
        """Wait until the value is a wanted one."""
        async for value in self.changes():
            if is_wanted(value):
                return

    async def follow(self, tell: Callable[[T], None]) -> None:
        """Tell the value now, then each new one at once; never returns."""
        async for value in self.changes():
            tell(value)


class Topic(_Told[T]):
    """Facts, each told once to everyone who listens at that moment."""

    __slots__ = ()

    def publish(self, fact: T) -> None:
        """Tell every listener; they return at once, and a fault of one costs neither the others nor the publisher."""
        for listener in self._listeners:
            try:
                listener(fact)
            except Exception:
                log.exception("a listener failed; what it would have shown or counted is missing")


class Ear:
    """Listens only while somebody wants to hear; `begin` is what begins to listen, and returns what ends it."""

    __slots__ = ("_begin", "_stops")

    def __init__(self, *begin: Callable[[], Callable[[], None]]) -> None:
        self._begin = begin
        self._stops: tuple[Callable[[], None], ...] = ()

    def want(self, is_wanted: bool) -> None:
        """Listen from now on, or no longer."""
        if is_wanted is bool(self._stops):
            return
        for stop in self._stops:
            stop()
        self._stops = tuple([begin() for begin in self._begin]) if is_wanted else ()
