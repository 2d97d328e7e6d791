"""Makes attempts spans of their clients' traces, while a collector is told of them."""

import random

from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.trace_context import beneath
from ollama_proxyd.core.values import replace


class Traces:
    """Whether attempts are spans."""

    def __init__(self) -> None:
        self.are_told = False
        """Whether a collector hears of each attempt."""

    def entered(self, request: Request) -> Request:
        """The request of one attempt, for whose backend the attempt is the parent."""
        if not self.are_told:
            return request
        trace = beneath(request.hints.trace, random.getrandbits(128) or 1, random.getrandbits(64) or 1)
        return replace(request, hints=replace(request.hints, trace=trace))
