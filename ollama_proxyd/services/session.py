"""A request under way that somebody else may end."""

import asyncio

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.services.request_trace import RequestTrace

ENDED = "ended_by_admin"


class Session:
    """A context around the work on a request, in the task that works on it."""

    __slots__ = ("_is_ended", "_task", "trace")

    def __init__(self, trace: RequestTrace) -> None:
        self.trace = trace
        self._task = asyncio.current_task()
        self._is_ended = False

    def end(self) -> bool:
        """End it at once, whatever it waits for; whether that was not done before."""
        if self._task is None or self._is_ended:
            return False
        self._is_ended = self._task.cancel()
        return self._is_ended

    def __enter__(self) -> RequestTrace:
        return self.trace

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Turn the cancellation, which may come through the one who reads the answer, into what the client is told."""
        if not isinstance(error, asyncio.CancelledError | GeneratorExit) or not self._is_ended or self._task is None:
            return
        if not self._task.uncancel():
            message = "an administrator of this proxy ended the request"
            raise ProxyError(ErrorKind.FORBIDDEN, message, code=ENDED) from None
