"""All kinds of faults, by name."""

from tests.faults.kinds import bodies, connections, heads, silences, statuses
from tests.faults.kinds.table import KINDS, Kind, Port

__all__ = ["KINDS", "Kind", "Port", "bodies", "connections", "heads", "silences", "statuses"]
