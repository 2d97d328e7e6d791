"""The settings of a front end, and how many requests it lets in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from ollama_proxyd.core.addresses import HostName, SocketPath
from ollama_proxyd.core.canonical_options import CANONICAL_OPTIONS
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.options import Option, Plain, Within
from ollama_proxyd.core.requests import Json, Operation

MODEL = "model"
"""The request's property that is settable beside the options."""
OF_EMBEDDINGS = frozenset({MODEL, "num_ctx", "keep_alive", "truncate", "dimensions", "user"})
OF_COUNTS = frozenset({MODEL})
"""What embeddings, and counts of tokens, take of them."""


def _in_small_letters(hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(host.lower() for host in hosts)


def _as_requests_have_them(options: Mapping[str, Json]) -> Mapping[str, Json]:
    """Every API takes a list of texts to stop at."""
    return {name: [value] if name == "stop" else value for name, value in options.items()}


@dataclass(frozen=True, slots=True)
class FrontendSettings:
    """Where a front end is found, whom it lets in, and what it makes of requests."""

    rules: Frontend
    hosts: Annotated[
        tuple[HostName, ...],
        Option("frontends[].", "Host names under which the daemon's addresses are it.", read=_in_small_letters),
    ] = ()
    port: Annotated[
        Annotated[int, Within(1, 65535)] | None, Option("frontends[].", "Its own TCP port on server.host.")
    ] = None
    unix_socket: Annotated[
        SocketPath | None,
        Option("frontends[].", "Its own Unix socket: an absolute path, ~/path, or a name in $XDG_RUNTIME_DIR."),
    ] = None
    operations: Annotated[
        tuple[Operation, ...],
        Option("frontends[].allowed_operations", "Only these kinds of requests; an empty list allows all."),
    ] = ()
    required_models: Annotated[
        tuple[str, ...],
        Option("frontends[].", "Models that each of its backends is to hold; an Ollama that lacks one pulls it."),
    ] = ()
    pinned: Annotated[
        Mapping[str, Json],
        Option(
            "frontends[].pinned",
            "Options that its clients cannot change, such as temperature, max_tokens or model.",
            written=Mapping[str, Plain],
            default={},
            read=_as_requests_have_them,
        ),
    ] = field(default_factory=dict)
    defaults: Annotated[
        Mapping[str, Json],
        Option(
            "frontends[].defaults",
            "The same for requests that do not say.",
            written=Mapping[str, Plain],
            default={},
            read=_as_requests_have_them,
        ),
    ] = field(default_factory=dict)
    max_body_bytes: Annotated[
        Annotated[int, Within(1024, 2**31)] | None,
        Option("frontends[].", "The largest request, in bytes; null: as server.max_body_bytes."),
    ] = None
    requests_per_minute: Annotated[
        Annotated[int, Within(1, 10**6)] | None,
        Option("frontends[].", "The limit of requests in a minute; a further one is refused."),
    ] = None
    token: str | None = field(default=None, repr=False)
    """What its clients must present; None where nothing but the daemon's own token is asked for."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.rules.name

    def check(self, operation: Operation) -> None:
        """Raise ProxyError for a kind of request that it does not allow."""
        if self.operations and operation not in self.operations:
            allowed = ", ".join(each.value for each in self.operations)
            message = (
                f"the front end {self.name} takes no requests of the kind {operation.value}, only {allowed}; "
                "frontends[].allowed_operations in the configuration says so"
            )
            raise ProxyError(ErrorKind.FORBIDDEN, message, code="operation_not_allowed")


def wrong_options(options: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """What cannot be pinned of some options, each with the reason."""
    for name, value in options.items():
        kind = str if name == MODEL else CANONICAL_OPTIONS.get(name)
        if kind is None:
            yield name, f"there is no such option; there are {', '.join((MODEL, *CANONICAL_OPTIONS))}"
        elif not _fits(kind, value):
            yield name, f"{value!r} is no value of this option"


def _fits(kind: object, value: Json) -> bool:
    if isinstance(value, list):
        return kind == list[str] and all(isinstance(each, str) for each in value)
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, str):
        return kind in {str, float | str}
    return kind in {float, float | str} or (kind is int and isinstance(value, int))
