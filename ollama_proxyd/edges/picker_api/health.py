"""The health service of gRPC: which of the services that gateways and probes ask for are served."""

from collections.abc import Iterable
from typing import Any, Final

from grpc_health.v1 import health_pb2

from ollama_proxyd.edges.picker_api.streams import (
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Answers,
    CallFault,
    Stream,
)

CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
MOST_BYTES: Final = 4096
"""A question is a name."""
_STATUSES: Final = {True: health_pb2.HealthCheckResponse.SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}


class Health:
    """Whether each service is served, and who watches."""

    def __init__(self, services: Iterable[str]) -> None:
        self._serving = dict.fromkeys(services, False)
        self._watching: dict[_Watch, None] = {}

    def set(self, services: Iterable[str], *, is_serving: bool) -> None:
        """Say it of some services; who watches hears of what has changed."""
        changed = {each for each in services if self._serving[each] is not is_serving}
        self._serving.update(dict.fromkeys(changed, is_serving))
        for watch in tuple(self._watching):
            if watch.service in changed:
                watch.stream.say((self.answer(watch.service),))

    def close(self) -> None:
        """End what is watched: no more is told."""
        for watch in tuple(self._watching):
            watch.stream.finish(UNAVAILABLE, "the picker ends")

    def check(self, _: Stream) -> "_Check":
        """Answer one question."""
        return _Check(self)

    def watch(self, stream: Stream) -> "_Watch":
        """Answer now, and whenever it changes."""
        return _Watch(self, stream, self._watching)

    def knows(self, service: str) -> bool:
        """Whether there is such a service."""
        return service in self._serving

    def answer(self, service: str) -> bytes:
        """What is said of a service."""
        is_serving = self._serving.get(service)
        status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN if is_serving is None else _STATUSES[is_serving]
        told: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
        return told


class _Question:
    ends_after_answer = outlasts_client = False

    def expect(self, size_bytes: int) -> None:
        """Raises CallFault where it is too large."""
        if size_bytes > MOST_BYTES:
            raise CallFault(RESOURCE_EXHAUSTED, "the question is too large")

    def close(self) -> None:
        pass


class _Check(_Question):
    ends_after_answer = True

    def __init__(self, health: Health) -> None:
        self._health = health

    def take(self, message: bytes) -> Answers:
        """The status; raises CallFault where there is no such service."""
        asked: Any = health_pb2.HealthCheckRequest.FromString(message)
        if not self._health.knows(asked.service):
            raise CallFault(NOT_FOUND, "no such service")
        return (self._health.answer(asked.service),)


class _Watch(_Question):
    outlasts_client = True

    def __init__(self, health: Health, stream: Stream, watching: dict["_Watch", None]) -> None:
        self._health = health
        self._watching = watching
        self.stream = stream
        self.service = ""

    def take(self, message: bytes) -> Answers:
        """The status now."""
        asked: Any = health_pb2.HealthCheckRequest.FromString(message)
        self.service = asked.service
        self._watching[self] = None
        return (self._health.answer(asked.service),)

    def close(self) -> None:
        """Nobody watches any more."""
        self._watching.pop(self, None)
