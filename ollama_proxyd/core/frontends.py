"""A front end: a named endpoint of the daemon, which sees some models and backends."""

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, TypeAlias

from ollama_proxyd.core.addresses import BackendId
from ollama_proxyd.core.model_names import matches
from ollama_proxyd.core.options import Like, Option
from ollama_proxyd.core.values import value

FrontendName: TypeAlias = Annotated[
    str, Like("^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", "a name of up to 64 letters, digits, _ and -")
]
Label: TypeAlias = Annotated[
    str, Like("^[A-Za-z0-9][A-Za-z0-9._/=-]{0,63}$", 'a label of up to 64 letters, digits, ".", "_", "/", "=" and "-"')
]
BackendLabels: TypeAlias = Annotated[
    tuple[Label, ...], Option("backends[].", "Labels by which front ends select it, such as gpu or site=attic.")
]
HeaderName: TypeAlias = Annotated[str, Like("^[A-Za-z0-9-]{1,64}$", "the name of a header")]


class Balancing(Enum):
    """How a front end chooses among the backends that can serve a request."""

    ENERGY = "energy"
    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_BUSY = "least-busy"
    STICKY = "sticky"


@value
class Frontend:
    """What routing knows of a front end."""

    name: Annotated[FrontendName, Option("frontends[].", "Its name in headers, logs and metrics.")]
    models: Annotated[
        tuple[str, ...],
        Option("frontends[].allowed_models", "Only models that match one of these globs; an empty list allows all."),
    ] = ()
    labels: Annotated[
        tuple[Label, ...],
        Option("frontends[].backend_labels", "Only backends that have all of these labels; an empty list allows all."),
    ] = ()
    backends: Annotated[
        tuple[BackendId, ...], Option("frontends[].", "Only these backends, by their ids; an empty list allows all.")
    ] = ()
    balancing: Annotated[
        Balancing,
        Option("frontends[].", "How it chooses among the backends that can serve; energy: as everywhere."),
    ] = Balancing.ENERGY
    sticky_header: Annotated[
        HeaderName | None,
        Option("frontends[].", "With sticky, requests with the same value of this header go to the same backend."),
    ] = None

    def uses(self, backend_id: str, labels: Iterable[str]) -> bool:
        """Whether it may use a backend of this id, with these labels."""
        is_named = not self.backends or backend_id in self.backends
        return is_named and (not self.labels or set(self.labels) <= set(labels))

    def allows(self, *names: str) -> bool:
        """Whether it serves the model of these names."""
        return not self.models or any(matches(name, self.models) for name in names)
