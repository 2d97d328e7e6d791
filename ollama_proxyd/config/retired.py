"""Keys and values that other versions of this file knew, and what takes their place."""

from collections.abc import Mapping
from typing import Final

_MODE_DECIDES: Final = "each efficiency mode weighs time against power by its price_of_time_watts"
_NO_PIPELINES: Final = "pipelines are not part of this daemon"
_NO_DEVICES: Final = "sharing of cameras, microphones and screens is not part of this daemon"

NO_EFFECT: Final[Mapping[str, str]] = {
    "backends[].model_name": "models are asked of each backend itself",
    "routing.default_backend": "every request goes to the backend of least cost; priority breaks ties",
    "routing.power_aware": _MODE_DECIDES,
    "routing.auto_optimize_latency": _MODE_DECIDES,
    "routing.fallback_strategy": "the next candidate is tried; routing.retries says how often",
    "routing.forwarding": "routing.retries says how many further backends are tried",
    "routing.confidence": "answers are not judged by their wording",
    "monitoring.prometheus_port": "metrics are at GET /metrics on server.http_port",
    "monitoring.pprof_enabled": "there is no profiling server",
    "monitoring.pprof_port": "there is no profiling server",
    "thermal": (
        "efficiency.modes.*.max_temp_c and max_fan_percent are the limits of each mode; efficiency.auto has Auto's"
    ),
    "efficiency.enabled": "a mode is always in force; Balanced is the usual one",
    "efficiency.dbus_enabled": "it is called dbus.enabled here",
    "pipelines": _NO_PIPELINES,
    "devices": _NO_DEVICES,
    "virtual_devices": _NO_DEVICES,
    "cache": "answers are kept by the settings of answer_cache",
}
"""Keys that may go, and why; list items are written as `[]`, and a section stands for all that is in it."""

GONE: Final[Mapping[str, str]] = {
    "server.tls": "put a TLS proxy in front, and leave server.host on this machine",
    "server.rate_limit": "server.max_in_flight bounds the load",
    "server.auth.enabled": "a token is asked for as soon as server.auth.token_env or token_file is given",
    "server.auth.api_keys": "keys do not stand in this file; name one in server.auth.token_env or token_file",
    "server.auth.token": "keys do not stand in this file; name one in server.auth.token_env or token_file",
    "backends[].api_key": "keys do not stand in this file; name one in api_key_env or api_key_file",
    "backends[].device": "run OpenVINO Model Server and give its endpoint with type: openai",
    "backends[].model_path": "run OpenVINO Model Server and give its endpoint with type: openai",
}
"""Keys that asked for something that would now silently not happen, and what does it instead."""

RENAMED: Final[Mapping[str, str]] = {
    "router": "this section is called routing",
    "backends[].max_parallel_requests": "this key is called slots",
    "backends[].identifier": "this key is called id",
    "frontends[].identifier": "this key is called name",
    "health": "these keys are called monitoring.health_interval_s and monitoring.health_timeout_s",
    "logging": "the level is called monitoring.log_level",
}

RETIRED_VALUES: Final[Mapping[tuple[str, str], str]] = {
    ("backends[].type", "openvino"): "run OpenVINO Model Server and give its endpoint with type: openai, flavor: ovms",
    ("backends[].type", "anthropic"): "only engines with an API in the manner of ollama or openai can be backends",
    ("backends[].type", "llamacpp"): "llama-server is type: openai, flavor: llamacpp",
    ("backends[].type", "vllm"): "vLLM is type: openai, flavor: vllm",
    ("efficiency.default_mode", "Ultra Efficiency"): "write UltraEfficiency",
}
"""By the path of the key and the value that it had."""
