"""Reads what engines tell of their load: metrics in Prometheus' text format, and llama-server's slots.

The names are those of the model server protocol of the Gateway API Inference Extension, and what engines call the same:
https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/003-model-server-protocol
"""

import re
from collections.abc import Sequence
from math import isfinite

import msgspec
from yarl import URL

from ollama_proxyd.core.engine_load import NOT_TOLD, EngineLoad
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE
from ollama_proxyd.edges.plumbing.call import Call
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.way import root_of, way_to
from ollama_proxyd.services.inventory import BackendConfig

RUNNING = (
    b"vllm:num_requests_running",
    b"sglang:num_running_reqs",
    b"llamacpp:requests_processing",
    b"trtllm_num_requests_running",
    b'nv_trt_llm_request_metrics{request_type="scheduled"',
)
WAITING = (
    b"vllm:num_requests_waiting",
    b"sglang:num_queue_reqs",
    b"llamacpp:requests_deferred",
    b"trtllm_num_requests_waiting",
    b'nv_trt_llm_request_metrics{request_type="waiting"',
    b"nv_inference_pending_request_count",
)
CACHE = (
    b"vllm:kv_cache_usage_perc",
    b"vllm:gpu_cache_usage_perc",
    b"sglang:token_usage",
    b"llamacpp:kv_cache_usage_ratio",
    b"trtllm_kv_cache_utilization",
    b'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"',
)
"""Shares from 0 to 1, though vLLM's names say percent."""
MOST_REQUESTS = 1_000_000
_NO_SUCH_ROUTE = frozenset({403, 404, 405, 501})
_LABELS = rb'(?:[^"}\n]|"(?:[^"\\\n]|\\.)*")*\}'
_NUMBER = rb"[ \t]+([0-9.eE+-]+)"
_VALUE = re.compile(rb"(?:\{" + _LABELS + rb")?" + _NUMBER)
_VALUE_OF_LABEL = re.compile(_LABELS + _NUMBER)
"""Where the name above holds the first of the labels."""
_JSON = msgspec.json.Decoder()


class EngineLoadReader:
    """Asks /metrics, and /slots where that tells nothing; what an engine does not tell is asked no further."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._slots_alone: set[str] = set()

    async def read(self, config: BackendConfig) -> EngineLoad:
        """What an engine tells now, NOT_TOLD where it tells nothing of it; raises ProxyError."""
        spec = config.spec
        if spec.endpoint not in self._slots_alone:
            body = await self._get(config, "/metrics", spec.metrics_port)
            told = NOT_TOLD if body is None else read_metrics(body)
            if told.is_told:
                return told
            self._slots_alone.add(spec.endpoint)
        body = await self._get(config, "/slots", None)
        return NOT_TOLD if body is None else read_slots(body)

    async def _get(self, config: BackendConfig, path: str, port: int | None) -> bytes | None:
        """The body, None where there is no such route."""
        spec = config.spec
        address = URL(spec.endpoint)
        root = root_of(address).origin()
        headers = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
        url = (root if port is None else root.with_port(port)).with_path(path)
        way = way_to(address, spec.proxy, spec.ca_file)
        who = f"backend {spec.id} at {root if way.socket is None else address}"
        call = Call("GET", url, who, headers, first_byte_s=self._client.timeouts.probe_s, way=way)
        async with self._client.ask(call) as reply:
            if reply.status in _NO_SUCH_ROUTE:
                return None
            body = await reply.body()
            return body if reply.status < 300 else None


def read_metrics(text: bytes) -> EngineLoad:
    """What a page of metrics tells; several models of one server are counted together."""
    running, waiting, cache = (_values(text, names) for names in (RUNNING, WAITING, CACHE))
    return EngineLoad(
        running=_count(running), waiting=_count(waiting), cache_share=min(max(cache), 1.0) if cache else None
    )


def _values(text: bytes, names: Sequence[bytes]) -> list[float]:
    """The values of the first of the metrics that is there."""
    for name in names:
        pattern = _VALUE_OF_LABEL if b"{" in name else _VALUE
        found, at = list[float](), text.find(name)
        while at >= 0:
            begins = at == 0 or text[at - 1 : at] == b"\n"
            value = pattern.match(text, at + len(name)) if begins else None
            if value is not None and (number := _number(value.group(1))) is not None:
                found.append(number)
            at = text.find(name, at + len(name))
        if found:
            return found
    return []


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None


def _count(values: Sequence[float]) -> int | None:
    return min(round(sum(values)), MOST_REQUESTS) if values else None


def read_slots(body: bytes) -> EngineLoad:
    """What llama-server's list of slots tells."""
    try:
        slots: Json = _JSON.decode(body)
    except UNREADABLE:
        return NOT_TOLD
    if not isinstance(slots, list) or not slots or not all(isinstance(each, dict) for each in slots):
        return NOT_TOLD
    at_work = [each.get("is_processing") for each in slots]
    if not all(isinstance(each, bool) for each in at_work):
        return NOT_TOLD
    return EngineLoad(running=sum(at_work), slots=len(slots))
