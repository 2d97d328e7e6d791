"""Keys and values that other versions of this file knew, and what takes their place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Retired:
    """What became of a key; a fatal one asked for something that would now silently not happen."""

    message: str
    fatal: bool = False


def _ignored(why: str) -> Retired:
    return Retired(f"this key has no effect and may go: {why}")


def _gone(what: str) -> Retired:
    return Retired(f"this key is gone: {what}", fatal=True)


_MODE_DECIDES: Final = _ignored("each efficiency mode weighs time against power by its price_of_time_watts")
_NO_PIPELINES: Final = _ignored("pipelines are not part of this daemon")
_NO_DEVICES: Final = _ignored("sharing of cameras, microphones and screens is not part of this daemon")

RETIRED: Final[Mapping[str, Retired]] = {
    "server.grpc_port": _ignored("gRPC is not served; everything is on server.http_port"),
    "server.tls": _gone("put a TLS proxy in front, and leave server.host on this machine"),
    "server.rate_limit": _gone("server.max_in_flight bounds the load"),
    "server.auth.enabled": _gone("a token is asked for as soon as server.auth.token_env or token_file is given"),
    "server.auth.api_keys": _gone("keys do not stand in this file; name one in server.auth.token_env or token_file"),
    "server.auth.token": _gone("keys do not stand in this file; name one in server.auth.token_env or token_file"),
    "backends[].api_key": _gone("keys do not stand in this file; name one in api_key_env or api_key_file"),
    "backends[].device": _gone("run OpenVINO Model Server and give its endpoint with type: openai"),
    "backends[].model_path": _gone("run OpenVINO Model Server and give its endpoint with type: openai"),
    "backends[].model_name": _ignored("models are asked of each backend itself"),
    "routing.default_backend": _ignored("every request goes to the backend of least cost; priority breaks ties"),
    "routing.power_aware": _MODE_DECIDES,
    "routing.auto_optimize_latency": _MODE_DECIDES,
    "routing.fallback_strategy": _ignored("the next candidate is tried; routing.retries says how often"),
    "routing.forwarding": _ignored("routing.retries says how many further backends are tried"),
    "routing.confidence": _ignored("answers are not judged by their wording"),
    "router": Retired("this section is called routing", fatal=True),
    "monitoring.prometheus_port": _ignored("metrics are at GET /metrics on server.http_port"),
    "monitoring.pprof_enabled": _ignored("there is no profiling server"),
    "monitoring.pprof_port": _ignored("there is no profiling server"),
    "thermal": _ignored(
        "efficiency.modes.*.max_temp_c and max_fan_percent are the limits of each mode; efficiency.auto has Auto's"
    ),
    "efficiency.enabled": _ignored("a mode is always in force; Balanced is the usual one"),
    "efficiency.dbus_enabled": _ignored("it is called dbus.enabled here"),
    "pipelines": _NO_PIPELINES,
    "devices": _NO_DEVICES,
    "virtual_devices": _NO_DEVICES,
    "health": Retired("these keys are called monitoring.health_interval_s and monitoring.health_timeout_s", fatal=True),
    "logging": Retired("the level is called monitoring.log_level", fatal=True),
    "cache": _ignored("answers are not cached"),
}
"""By the path of the key, list items written as `[]`; a section stands for all that is in it."""

RETIRED_VALUES: Final[Mapping[tuple[str, str], str]] = {
    ("backends[].type", "openvino"): "run OpenVINO Model Server and give its endpoint with type: openai, flavor: ovms",
    ("backends[].type", "anthropic"): "only engines with an API in the manner of ollama or openai can be backends",
    ("backends[].type", "llamacpp"): "llama-server is type: openai, flavor: llamacpp",
    ("backends[].type", "vllm"): "vLLM is type: openai, flavor: vllm",
    ("efficiency.default_mode", "Ultra Efficiency"): "write UltraEfficiency",
}
"""By the path of the key and the value that it had."""
