"""Responses that can be gone on from, retrieved and deleted: in memory, bounded in number and bytes."""

from collections.abc import Mapping

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.values import value

MOST_RESPONSES = 512
MOST_BYTES = 64 * 1024 * 1024


@value
class KeptResponse:
    """A response as its client got it, with the JSON of what went in and came out, by id and in order."""

    response: bytes
    inputs: Mapping[str, bytes]
    outputs: Mapping[str, bytes]

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes, about."""
        return len(self.response) + sum(map(len, (*self.inputs.values(), *self.outputs.values())))


class KeptResponses:
    """The latest responses; the oldest make room for new ones."""

    def __init__(self, most: int = MOST_RESPONSES, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: dict[str, KeptResponse] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, response_id: str, response: KeptResponse) -> None:
        """Keep a response, unless it alone is too large."""
        if response.size_bytes > self._most_bytes:
            return
        if response_id in self._kept:
            self.forget(response_id)
        self._kept[response_id] = response
        self.size_bytes += response.size_bytes
        while len(self._kept) > self._most or self.size_bytes > self._most_bytes:
            self.forget(next(iter(self._kept)))

    def forget(self, response_id: str) -> None:
        """Let go of a response; ProxyError where there is none."""
        self.size_bytes -= self.find(response_id).size_bytes
        del self._kept[response_id]

    def find(self, response_id: str) -> KeptResponse:
        """A response; ProxyError where there is none."""
        found = self._kept.get(response_id)
        if found is None:
            message = f"Response with id '{response_id[:80]}' not found; the latest are kept until the server ends"
            raise ProxyError(ErrorKind.ROUTE_NOT_FOUND, message, code="response_not_found")
        return found

    def before(self, response_id: str) -> list[bytes]:
        """The conversation up to and with a response; ProxyError where there is none."""
        found = self._kept.get(response_id)
        if found is None:
            message = f"Previous response with id '{response_id[:80]}' not found; send the whole input instead"
            code = "previous_response_not_found"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="previous_response_id", code=code)
        return [*found.inputs.values(), *found.outputs.values()]

    def item(self, item_id: str, field: str) -> bytes:
        """The item that a reference names; ProxyError where there is none."""
        for kept in reversed(tuple(self._kept.values())):
            found = kept.outputs.get(item_id) or kept.inputs.get(item_id)
            if found is not None:
                return found
        message = f"Item with id '{item_id[:80]}' not found; send the item itself"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param=field)
