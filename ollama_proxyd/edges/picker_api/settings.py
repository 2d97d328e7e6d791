"""What the endpoint picker is configured with."""

from typing import Annotated

from ollama_proxyd.core.engine_load import PickerLimits, Saturation
from ollama_proxyd.core.options import Like, Option, Positive, Within
from ollama_proxyd.core.values import value


@value
class PickerSettings:
    """Where the picker listens, how often it asks engines for their load, and how it refuses work."""

    host: Annotated[
        Annotated[str, Like("^[A-Za-z0-9.:_-]+$", "a host name or an address without brackets")],
        Option("picker.", "The address to listen on; whoever reaches it may ask.", reload=False),
    ] = "127.0.0.1"
    port: Annotated[
        int, Within(0, 65535), Option("picker.", "The TCP port for gRPC; 0 picks a free one.", reload=False)
    ] = 9002
    secure_serving: Annotated[
        bool, Option("picker.", "Whether gRPC is served by TLS, as gateways of the extension expect.", reload=False)
    ] = True
    cert_path: Annotated[
        str | None,
        Option(
            "picker.",
            "The folder of tls.crt and tls.key, read anew when they change; without it a certificate of its own.",
            reload=False,
        ),
    ] = None
    health_port: Annotated[
        Annotated[int, Within(0, 65535)] | None,
        Option("picker.", "A further port for health checks alone, without TLS, as Kubernetes asks.", reload=False),
    ] = None
    notice_s: Annotated[
        float,
        Within(0, 3600),
        Option("picker.", "Seconds that it decides on at its end, until gateways see NOT_SERVING.", reload=False),
    ] = 2.0
    endpoints: Annotated[
        int, Within(1, 16), Option("picker.", "The most endpoints that are named: the best, and those to fall back on.")
    ] = 3
    load_interval_s: Annotated[
        Positive, Option("picker.", "Seconds between two looks at the load of engines; more for large fleets.")
    ] = 0.2
    resolve_interval_s: Annotated[
        Positive, Option("picker.", "Seconds until the names of endpoints are looked up again.")
    ] = 5.0
    saturated_waiting: Annotated[
        int,
        Within(1, 100_000),
        Option("picker.", "Waiting requests from which on an engine takes none of the lowest priority."),
    ] = 5
    saturated_cache: Annotated[
        float,
        Within(gt=0, le=1),
        Option("picker.", "The share of its KV cache from which on an engine takes none of the lowest priority."),
    ] = 0.8

    @property
    def limits(self) -> PickerLimits:
        """The same as the picker takes it."""
        return PickerLimits(self.endpoints, Saturation(self.saturated_waiting, self.saturated_cache))
