"""The thread in which drivers are read: one for all readings that are due together, another one where one hangs."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
PATIENCE_S: Final = 1.0
"""Who has waited so long for a reading before its own goes on without it."""


class _Job(Generic[T]):
    """One reading: claimed by one thread, finished there, settled in the loop that waits for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._claim = threading.Lock()
        self._result: T | OSError | None = None
        self._is_finished = False
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[T] = self.loop.create_future()

    def claim(self) -> bool:
        """Whether the caller is the first, and is to do it."""
        return self._claim.acquire(blocking=False)

    def run(self) -> None:
        """Do it. What is no trouble of a sensor is a fault of ours: it ends the thread, which shows it."""
        self._result = OSError("the reading failed by a fault of the proxy")
        try:
            self._result = self._work()
        except OSError as error:
            self._result = error
        finally:
            self._is_finished = True

    def settle(self) -> None:
        """In the loop: set the outcome, if there is one and it is still awaited."""
        if not self._is_finished or self.outcome.done():
            return
        if isinstance(self._result, OSError):
            self.outcome.set_exception(self._result)
        else:
            self.outcome.set_result(self._result)  # type: ignore[arg-type] # it is finished, so it is a T


_Jobs: TypeAlias = "SimpleQueue[_Job[Any] | None]"


class ReadingThread:
    """Does readings one by one and reports them together, so that the machine wakes once.

    A driver may never come back from a read. Its thread is then left to it: nothing waits for it, and a new thread does
    the readings behind it.
    """

    def __init__(self) -> None:
        self._jobs: _Jobs | None = None

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, or the OSError that it raises."""
        job = _Job(work)
        jobs = self._jobs  # a thread that ends by a fault takes it away at any moment
        if jobs is None:
            jobs = self._jobs = self._start()
        jobs.put(job)
        await asyncio.wait({job.outcome}, timeout=PATIENCE_S)
        job.settle()  # it may be done, and not told because of the one behind it
        if not job.outcome.done() and job.claim():
            if (jobs := self._jobs) is not None:
                jobs.put(None)  # the thread that hangs ends when it comes back
            self._jobs = self._start(job)
        return await job.outcome

    def _start(self, first: _Job[Any] | None = None) -> _Jobs:
        """A new thread, which begins with a job that was claimed for it."""
        jobs: _Jobs = SimpleQueue()
        threading.Thread(target=self._run, args=(jobs, first), name="sensors", daemon=True).start()
        return jobs

    def _run(self, jobs: _Jobs, first: _Job[Any] | None) -> None:
        done: list[_Job[Any]] = []
        job = first
        try:
            while job is not None or (job := jobs.get()) is not None:
                if job is first or job.claim():
                    done.append(job)
                    job.run()
                job = None
                if jobs.empty():
                    _tell(done)
                    done = []
        finally:
            _tell(done)
            if self._jobs is jobs:
                self._jobs = None


def _tell(done: list[_Job[Any]]) -> None:
    def settle() -> None:
        for job in done:
            job.settle()

    if done:
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            done[0].loop.call_soon_threadsafe(settle)
