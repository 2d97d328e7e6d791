"""Which paired machines may use what of this one; see `edges.http_api.guests`."""

from collections.abc import Callable, Sequence

from ollama_proxyd.core.allowance import Allowance
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.house import Peer
from ollama_proxyd.core.policy.sharing import why_not_shared
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.house.settings import HouseSettings
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell


class HouseGuests:
    """The rules of this machine for those that are paired with it."""

    def __init__(self, services: Services, settings: Cell[HouseSettings], peers: Callable[[], Sequence[Peer]]) -> None:
        self._services = services
        self._settings = settings
        self._peers = peers
        self._allowances: dict[str, Allowance] = {}
        self.changed = Cell(0)

    def renew(self) -> None:
        """Rules or machines have changed."""
        self.changed.set(self.changed.value + 1)

    def name_of(self, fingerprint: str) -> str | None:
        """See the port."""
        return next((each.name for each in self._peers() if each.fingerprint == fingerprint), None)

    def admit(self, name: str) -> None:
        """See the port."""
        now_s, limit = self._services.clock.monotonic(), self._settings.value.requests_per_minute
        allowance = self._allowances.get(name)
        if allowance is None or allowance.per_minute != limit:
            allowance = self._allowances[name] = Allowance(limit, limit, now_s)
        if wait_s := allowance.take(now_s):
            message = f"{limit} requests a minute of each paired machine are taken (house.requests_per_minute)"
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=wait_s, code="rate_limit_exceeded")

    def why_not(self, view: BackendView) -> Reason | None:
        """See the port."""
        settings, row = self._settings.value, self._services.governor.setting.value.row
        return why_not_shared(view, self._services.system.value, row, settings.share, wakes=settings.wakes)
