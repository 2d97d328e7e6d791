"""Whether new requests are let in, over all reloads of the configuration."""

from ollama_proxyd.core.errors import ErrorKind, ProxyError


class Admission:
    """Open, or closed for a reason that each new request is told."""

    def __init__(self) -> None:
        self._why: str | None = None
        self._retry_after_s = 0.0

    def close(self, why: str, retry_after_s: float) -> None:
        """From now on new requests are told to come later; those under way go on."""
        self._why, self._retry_after_s = why, retry_after_s

    def open(self) -> None:
        """Let requests in again."""
        self._why = None

    def check(self) -> None:
        """Raise ProxyError for a new request while it is closed."""
        if self._why is not None:
            raise ProxyError(ErrorKind.UNAVAILABLE, self._why, retry_after_s=self._retry_after_s)
