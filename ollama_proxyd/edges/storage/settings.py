"""Whether and how long a history is kept."""

from typing import Annotated

from ollama_proxyd.core.options import Option, Within
from ollama_proxyd.core.values import value


@value
class HistorySettings:
    """Whether a history is kept, and how much of it; beyond the limits the oldest figures are deleted."""

    enabled: Annotated[
        bool, Option("history.", "Whether figures of each request are kept; its words never are.", reload=False)
    ] = True
    max_days: Annotated[
        int, Within(1, 3660), Option("history.", "The age of the oldest figures, in days.", reload=False)
    ] = 366
    max_megabytes: Annotated[
        int, Within(1, 10_000), Option("history.", "The size of the file, in megabytes of 10^6 bytes.", reload=False)
    ] = 100
