"""Whether new requests are let in."""

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.services.cell import Topic

STOPPING_RETRY_S = 5.0


class Gate:
    """Open, or closed with a reason for each new request; requests under way go on."""

    def __init__(self) -> None:
        self._why: str | None = None
        self._retry_after_s = 0.0
        self._is_stopping = False
        self.opened: Topic[None] = Topic()
        """Requests are let in again."""

    def close(self, why: str, retry_after_s: float) -> None:
        """Tell new requests from now on to come later."""
        self._why, self._retry_after_s = why, retry_after_s

    def open(self) -> None:
        """Let requests in again, unless the process stops."""
        self._why = None
        self.opened.publish(None)

    def stop(self) -> None:
        """Refuse every request from now on."""
        self._is_stopping = True

    @property
    def is_open(self) -> bool:
        """Whether requests that were let in may begin; while the process stops they may."""
        return self._why is None

    def check(self) -> None:
        """Raise ProxyError for a new request while it is closed."""
        if self._why is not None:
            raise ProxyError(ErrorKind.UNAVAILABLE, self._why, retry_after_s=self._retry_after_s)
        if self._is_stopping:
            raise ProxyError(ErrorKind.UNAVAILABLE, "the proxy is stopping", retry_after_s=STOPPING_RETRY_S)
