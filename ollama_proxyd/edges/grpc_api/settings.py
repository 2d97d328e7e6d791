"""What the gRPC server is configured with."""

from typing import Annotated

from ollama_proxyd.core.options import Option, Within
from ollama_proxyd.core.values import value


@value
class GrpcSettings:
    """Whether gRPC is served; its host, its token and whom it lets in are those of the HTTP server."""

    port: Annotated[
        Annotated[int, Within(0, 65535)] | None,
        Option(
            "server.grpc_port",
            "The TCP port for gRPC, for which grpcio must be installed; 0 picks a free one; null: not served.",
            reload=False,
        ),
    ] = None


@value
class Door:
    """What of the HTTP server's settings holds for gRPC too."""

    host: str
    max_message_bytes: int
    names_programs: bool
