"""One kind of telemetry on its way to the collector; what goes wrong there is told once."""

import logging
from collections.abc import Mapping
from typing import Final

from yarl import URL

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.values import replace
from ollama_proxyd.edges.plumbing.call import Call
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.way import root_of, way_to

log = logging.getLogger(__name__)

LATER: Final = frozenset({429, 502, 503, 504})
"""With them a collector asks for the same again later (OTLP 1.10, OTLP/HTTP, retryable response codes)."""


class Signal:
    """A path of the collector."""

    def __init__(self, http: HttpClient, endpoint: str, path: str, headers: Mapping[str, str]) -> None:
        address, self._who = URL(endpoint), f"{path} of the collector at {endpoint}"
        self._http, url = http, URL(str(root_of(address)).rstrip("/") + path)
        sent = {**headers, "Content-Type": "application/x-protobuf"}
        self._call = Call("POST", url, self._who, sent, way=way_to(address, "none"), keeps=False)
        self._trouble = ""
        """What was told last; nothing while the collector takes this."""

    async def send(self, body: bytes) -> bool:
        """Send a batch; whether it is settled: taken, or never to be sent again."""
        try:
            async with self._http.ask(replace(self._call, body=body)) as reply:
                status = reply.status
                is_settled = status not in LATER
                self._tell("" if 200 <= status < 300 else f"{self._who} answered with HTTP status {status}", is_settled)
        except ProxyError as error:
            is_settled = error.status is not None
            self._tell(error.message, is_settled)
        return is_settled

    def _tell(self, trouble: str, is_settled: bool) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if not trouble:
            log.info("%s takes telemetry again", self._who)
            return
        fate = "is lost there" if is_settled else "waits for it, the latest at least"
        log.warning("%s; what attempts came to %s", trouble, fate)
