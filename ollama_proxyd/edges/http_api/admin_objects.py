"""Backends and front ends as the admin API writes them: OllamaFlow's keys beside those of the file."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ollama_proxyd.core.administration import Kind
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json

IDENTIFIER = "Identifier"
OWNER_ONLY = frozenset(
    {"api_key_env", "api_key_file", "token_env", "token_file", "ca_file", "unit", "unix_socket", "proxy"}
)
"""What names files, variables, units or other machines to go through: only the daemon's own user may set it."""

_SECRETS = frozenset({"BearerToken", "Querystring", "Headers"})
_BALANCING = {"RoundRobin": "round-robin", "Random": "random"}
_OPERATIONS = {"AllowEmbeddings": ("embedding",), "AllowCompletions": ("chat", "completion")}
_IGNORED: Mapping[Kind, frozenset[str]] = {
    Kind.BACKENDS: frozenset(
        {
            *("HealthCheckMethod", "HealthCheckUrl", "RateLimitRequestsThreshold", "CreatedUtc", "LastUpdateUtc"),
            *("LogRequestFull", "LogRequestBody", "LogResponseBody", "AllowEmbeddings", "AllowCompletions"),
            *("PinnedEmbeddingsProperties", "PinnedCompletionsProperties", "Source"),
        }
    ),
    Kind.FRONTENDS: frozenset(
        {
            *("Name", "TimeoutMs", "BlockHttp10", "LogRequestFull", "LogRequestBody", "LogResponseBody", "Source"),
            *("StickySessionExpirationMs", "PinnedEmbeddingsProperties", "AllowRetries", "Active", "CreatedUtc"),
            "LastUpdateUtc",
        }
    ),
}
"""Keys of OllamaFlow that mean nothing here; the answer names those that were given."""
_SAME: Mapping[Kind, Mapping[str, str]] = {
    Kind.BACKENDS: {
        "Name": "name",
        "UnhealthyThreshold": "unhealthy_threshold",
        "HealthyThreshold": "healthy_threshold",
        "MaxParallelRequests": "slots",
        "Labels": "labels",
        "Active": "enabled",
    },
    Kind.FRONTENDS: {
        "MaxRequestBodySize": "max_body_bytes",
        "RequiredModels": "required_models",
        "PinnedCompletionsProperties": "pinned",
        "Backends": "backends",
    },
}
"""Keys with the same meaning under another name."""


class Read(NamedTuple):
    """An object in the words of the file, its name, and the keys that mean nothing here."""

    name: str | None
    values: dict[str, Json]
    ignored: tuple[str, ...]


def read(kind: Kind, told: Mapping[str, Json]) -> Read:
    """What an object says; raises ProxyError for secrets, which do not go this way."""
    for key in _SECRETS & told.keys():
        if told[key]:
            message = f"{key} is not taken, since secrets are not kept here; name a file with api_key_file"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param=key)
    same, values, ignored = _SAME[kind], dict[str, Json](), list[str]()
    for key, value in told.items():
        if key in same:
            values[same[key]] = value
        elif key in _IGNORED[kind]:
            ignored.append(key)
        elif key not in _OWN[kind] and key not in _SECRETS:
            values[key] = value
    more: Mapping[str, Json] = _READERS[kind](told)
    name = told.get(IDENTIFIER, values.pop(kind.name_key, None))
    if name is not None and not isinstance(name, str):
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{IDENTIFIER} must be a text", param=IDENTIFIER)
    return Read(name, {**more, **values}, tuple(ignored))


def _backend(told: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if "Hostname" in told or "Port" in told:
        host, scheme = str(told.get("Hostname", "localhost")), "https" if told.get("Ssl") is True else "http"
        found["endpoint"] = f"{scheme}://{f'[{host}]' if ':' in host else host}:{told.get('Port', 11434)}"
    if "ApiFormat" in told:
        found["type"] = str(told["ApiFormat"]).lower()
    return found


def _frontend(told: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if "Hostname" in told:
        if told["Hostname"] == "*":
            message = "every host name leads to the daemon's own front end already; give this one a name"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Hostname")
        found["hosts"] = [told["Hostname"]]
    if "LoadBalancing" in told:
        wanted = told["LoadBalancing"]
        found["balancing"] = _BALANCING.get(wanted, wanted) if isinstance(wanted, str) else wanted
    if told.get("UseStickySessions") is True:
        found |= {"balancing": "sticky", "sticky_header": "X-Conversation-Id"}
    if any(told.get(key) is False for key in _OPERATIONS):
        allowed = [each for key, operations in _OPERATIONS.items() for each in operations if told.get(key) is not False]
        if not allowed:
            raise ProxyError(ErrorKind.INVALID_REQUEST, "nothing is allowed; delete the front end instead")
        found["allowed_operations"] = allowed
    return found


_READERS: Mapping[Kind, Callable[[Mapping[str, Json]], dict[str, Json]]] = {
    Kind.BACKENDS: _backend,
    Kind.FRONTENDS: _frontend,
}
_OWN: Mapping[Kind, frozenset[str]] = {
    Kind.BACKENDS: frozenset({IDENTIFIER, "Hostname", "Port", "Ssl", "ApiFormat"}),
    Kind.FRONTENDS: frozenset({IDENTIFIER, "Hostname", "LoadBalancing", "UseStickySessions", *_OPERATIONS}),
}
"""Keys that the readers look at."""


def shown(kind: Kind, values: Mapping[str, Json], *, is_in_file: bool) -> dict[str, Json]:
    """An object under the keys of both."""
    told = {key: values[own] for key, own in _SAME[kind].items() if own in values}
    return {IDENTIFIER: values[kind.name_key], **told, "Source": "file" if is_in_file else "api", **values}
