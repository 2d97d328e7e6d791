"""The thread in which drivers are read: one for all readings that are due together, another one where one hangs."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
PATIENCE_S: Final = 1.0
"""After this time a reading that waits behind another one goes on without it."""


class _Job(Generic[T]):
    """One reading: claimed by one thread, finished there, settled in the loop that waits for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._claim = threading.Lock()
        self._set_outcome: Callable[[], None] | None = None
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[T] = self.loop.create_future()

    @property
    def is_claimed(self) -> bool:
        """Whether a thread has begun it."""
        return self._claim.locked()

    def claim(self) -> bool:
        """Whether the caller is the first, and is to do it."""
        return self._claim.acquire(blocking=False)

    def run(self) -> None:
        """Do it. What is no trouble of a sensor is a fault of ours: it ends the thread, which shows it."""
        set_outcome = partial(self.outcome.set_exception, OSError("the reading failed by a fault of the proxy"))
        try:
            set_outcome = partial(self.outcome.set_result, self._work())
        except OSError as error:
            set_outcome = partial(self.outcome.set_exception, error)
        finally:
            self._set_outcome = set_outcome

    def settle(self) -> None:
        """In the loop: set the outcome, if there is one and it is still awaited."""
        if self._set_outcome is not None and not self.outcome.done():
            self._set_outcome()


_Jobs: TypeAlias = "SimpleQueue[_Job[Any] | None]"


class ReadingThread:
    """Does readings one by one and reports them together, so that the machine wakes once.

    A driver may never come back from a read. Its thread is then left to it: nothing waits for it, and a new thread does
    the readings behind it.
    """

    def __init__(self) -> None:
        self._jobs: _Jobs = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, or the OSError that it raises."""
        job = _Job(work)
        if self._thread is None or not self._thread.is_alive():
            self._start()
        self._jobs.put(job)
        await asyncio.wait({job.outcome}, timeout=PATIENCE_S)
        job.settle()  # it may be done, and not told because of the one behind it
        if not job.is_claimed:
            self._jobs.put(None)  # the thread that hangs ends when it comes back
            self._start()
            self._jobs.put(job)
        return await job.outcome

    def _start(self) -> None:
        self._jobs = SimpleQueue()
        self._thread = threading.Thread(target=_run, args=(self._jobs,), name="sensors", daemon=True)
        self._thread.start()


def _run(jobs: _Jobs) -> None:
    done: list[_Job[Any]] = []
    try:
        while (job := jobs.get()) is not None:
            if job.claim():
                done.append(job)
                job.run()
            if jobs.empty():
                _tell(done)
                done = []
    finally:
        _tell(done)


def _tell(done: list[_Job[Any]]) -> None:
    def settle() -> None:
        for job in done:
            job.settle()

    if done:
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            done[0].loop.call_soon_threadsafe(settle)
