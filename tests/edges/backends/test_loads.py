"""What engines tell of their load, in the words of each."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.engine_load import NOT_TOLD, EngineLoad
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.loads import EngineLoadReader, read_metrics, read_slots
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.services.inventory import BackendConfig
from tests.upstreams.fake_engines import FakeEngine, Says, serving

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="a } b"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
"""
LLAMACPP = b"""# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
llamacpp:requests_deferred 2
"""
TRITON = b"""nv_trt_llm_request_metrics{request_type="context",model="m",version="1"} 9
nv_trt_llm_request_metrics{request_type="waiting",model="m",version="1"} 4
nv_trt_llm_request_metrics{request_type="scheduled",model="m",version="1"} 8
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="m",version="1"} 6240
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m",version="1"} 0.9
"""


@pytest.mark.parametrize(
    ("text", "load"),
    [
        (VLLM, EngineLoad(4, 2, 0.5)),
        (VLLM.replace(b"kv_cache", b"gpu_cache"), EngineLoad(4, 2, 0.5)),
        (VLLM.replace(b"\n", b"\r\n"), EngineLoad(4, 2, 0.5)),
        (LLAMACPP, EngineLoad(1, 2)),
        (TRITON, EngineLoad(8, 4, 0.9)),
        (b"sglang:num_running_reqs 5\nsglang:num_queue_reqs 6\nsglang:token_usage 0.75\n", EngineLoad(5, 6, 0.75)),
        (b"trtllm_num_requests_waiting 1\ntrtllm_kv_cache_utilization 2\n", EngineLoad(None, 1, 1.0)),
        (b'nv_inference_pending_request_count{model="m"} 3\n', EngineLoad(None, 3)),
        (b"vllm:num_requests_waiting 1 1718000000\n", EngineLoad(None, 1)),
    ],
)
def test_each_engine_says_it_in_its_own_words(text: bytes, load: EngineLoad) -> None:
    assert read_metrics(text) == load


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>no metrics</html>",
        b"# HELP vllm:num_requests_waiting 5\n",
        b"vllm:num_requests_waiting NaN\n",
        b"vllm:num_requests_waiting{} -3\n",
        b"vllm:num_requests_waiting{} 1e999\n",
        b'vllm:num_requests_waiting{a="b\n',
        b"my_vllm:num_requests_waiting 3\n",
        b"vllm:num_requests_waiting",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_such_metric_tells_nothing(text: bytes) -> None:
    assert read_metrics(text) == NOT_TOLD


@pytest.mark.parametrize(
    ("slots", "load"),
    [
        ([{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}], EngineLoad(running=1, slots=2)),
        ([], NOT_TOLD),
        ([{"id": 0}], NOT_TOLD),
        ([{"is_processing": 1}], NOT_TOLD),
        ([3], NOT_TOLD),
        ({"error": {"message": "no slots"}}, NOT_TOLD),
    ],
)
def test_slots_tell_how_many_are_at_work(slots: Any, load: EngineLoad) -> None:
    assert read_slots(json.dumps(slots).encode()) == load
    assert read_slots(b"[") == NOT_TOLD


def config_of(engine: FakeEngine, **more: Any) -> BackendConfig:
    return BackendConfig(BackendSpec("a", "a", Api.OPENAI, f"{engine.url}/v1", **more), api_key="secret")


async def test_slots_are_asked_where_there_are_no_metrics_and_then_they_alone() -> None:
    client = HttpClient()
    reader = EngineLoadReader(client)
    refused = Says({"error": "start with --metrics"}, 501)
    async with serving(FakeEngine({"GET /metrics": refused, "GET /slots": Says([{"is_processing": True}])})) as engine:
        for _ in range(2):
            assert await reader.read(config_of(engine)) == EngineLoad(running=1, slots=1)
        assert [each.path for each in engine.asked] == ["/metrics", "/slots", "/slots"]
        assert engine.asked[0].headers["Authorization"] == "Bearer secret"
    with pytest.raises(ProxyError):
        await reader.read(config_of(engine))
    await client.close()


async def test_metrics_may_have_a_port_of_their_own() -> None:
    client = HttpClient()
    async with serving(FakeEngine({})) as engine, serving(FakeEngine({"GET /metrics": Says(TRITON)})) as metrics:
        told = await EngineLoadReader(client).read(config_of(engine, metrics_port=metrics.port))
        assert told == EngineLoad(8, 4, 0.9)
        assert not engine.asked
    await client.close()
