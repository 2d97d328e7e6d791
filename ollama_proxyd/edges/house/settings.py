"""What the house is configured with."""

from typing import Annotated

from ollama_proxyd.core.house import Share
from ollama_proxyd.core.options import Like, Option, Within
from ollama_proxyd.core.values import value

_PLACE = r"^([A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]{1,15})?\](:[0-9]{1,5})?)$"


@value
class HouseSettings:
    """Whether other machines of the house are used and served, and how."""

    enabled: Annotated[
        bool,
        Option(
            "house.",
            "Whether this machine can be paired with others, for which Python packages are needed.",
            reload=False,
        ),
    ] = False
    name: Annotated[
        Annotated[str, Like("^[A-Za-z0-9][A-Za-z0-9-]{0,31}$", "a name of up to 32 letters, digits and -")] | None,
        Option("house.", "What paired machines call this one; null: its host name.", reload=False),
    ] = None
    port: Annotated[
        int,
        Within(1, 65534),
        Option("house.", "The TCP port for paired machines; pairing uses the next one.", reload=False),
    ] = 11484
    interfaces: Annotated[
        tuple[Annotated[str, Like("^[A-Za-z0-9_.:@-]{1,15}$", "a network interface such as enp3s0")], ...],
        Option("house.", "Only at these network interfaces; an empty list: at all.", reload=False),
    ] = ()
    multicast: Annotated[
        bool, Option("house.", "Whether machines announce themselves and are found by mDNS.", reload=False)
    ] = True
    peers: Annotated[
        tuple[Annotated[str, Like(_PLACE, "an address such as 192.168.1.5:11484 or [fd00::5]:11484")], ...],
        Option("house.", "Addresses of paired machines, for networks without multicast.", reload=False),
    ] = ()
    share: Annotated[
        Share, Option("house.", "When this machine answers for paired ones; mains: while it is not on battery.")
    ] = Share.MAINS
    wakes: Annotated[
        bool, Option("house.", "Whether paired machines may have a sleeping device or a stopped engine woken.")
    ] = False
    mains_weight: Annotated[
        float,
        Within(0, 1),
        Option("house.", "What a joule from another machine's mains counts while this one runs on battery."),
    ] = 0.3
    requests_per_minute: Annotated[
        int, Within(1, 10**6), Option("house.", "The limit of requests in a minute from each paired machine.")
    ] = 120
