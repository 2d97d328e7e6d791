"""Other machines of the house: which are paired, and what of them a price needs."""

from dataclasses import field
from enum import Enum

from ollama_proxyd.core.values import value

MOST_PEERS = 16
"""So many machines can be paired."""
PAIRING_S = 120.0
"""How long a code counts."""
ATTEMPTS = 3
"""So many wrong codes end a pairing."""
CODE_DIGITS = 8


class Share(Enum):
    """When this machine answers for paired ones."""

    MAINS = "mains"
    ALWAYS = "always"
    NEVER = "never"


@value
class Offer:
    """A backend of a paired machine, by the words that it has there."""

    id: str
    name: str
    hardware: str


@value
class Peer:
    """A paired machine. `fingerprint`: SHA-256 of its certificate, in hex. `address`: where it was last."""

    fingerprint: str
    name: str
    certificate: str = field(repr=False)
    """PEM."""
    address: str
    port: int
    offers: tuple[Offer, ...] = ()
    """The backends that it had when it was there last."""


@value
class Machine:
    """A paired machine, as what it shares is priced; None where that is not known.

    power_w: what the backend's device draws there under load. rtt_s: how long a packet is under way, there and back.
    mains_weight: what a joule from its mains counts while this machine runs on battery.
    """

    name: str
    power_w: float
    on_battery: bool | None = None
    battery_percent: float | None = None
    rtt_s: float | None = None
    mains_weight: float = 1.0

    def weight(self, *, on_battery_here: bool) -> float:
        """What one of its joules counts here: a battery's as much as ours, one from the mains less."""
        return self.mains_weight if on_battery_here and self.on_battery is not True else 1.0


def is_code(text: str) -> bool:
    """Whether a text is a code, its spaces and hyphens left out."""
    return text.isascii() and text.isdigit() and len(text) == CODE_DIGITS


def bare(code: str) -> str:
    """A code without what people put between its digits."""
    return code.replace("-", "").replace(" ", "")


@value
class PeerStatus:
    """A paired machine as people see it. `reason`: why nothing of it is used now, None where all is well."""

    name: str
    fingerprint: str
    address: str
    is_connected: bool
    on_battery: bool | None
    battery_percent: float | None
    rtt_ms: float | None
    backends: tuple[str, ...]
    reason: str | None


@value
class PairingStatus:
    """A code that can be used."""

    code: str
    seconds_left: float
    attempts_left: int


@value
class HouseStatus:
    """The house as this machine knows it."""

    name: str
    fingerprint: str
    port: int
    peers: tuple[PeerStatus, ...]
    pairing: PairingStatus | None
    trouble: str | None
    """Why something of it does not work, such as multicast."""
