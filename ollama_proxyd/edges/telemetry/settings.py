"""Where telemetry goes."""

from typing import Annotated

from ollama_proxyd.core.addresses import Endpoint
from ollama_proxyd.core.options import Option
from ollama_proxyd.core.values import value


@value
class TelemetrySettings:
    """Nothing leaves this machine unless an address is given."""

    otlp_endpoint: Annotated[
        Endpoint | None,
        Option(
            "telemetry.",
            "The address of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318, for which "
            "ollama-proxyd[otlp] must be installed; null: nothing is told.",
        ),
    ] = None
