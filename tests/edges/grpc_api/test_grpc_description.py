"""The description of the service: what protoc makes of it, and the numbers that clients of the earlier proxy have."""

from pathlib import Path

from grpc_tools import protoc

from ollama_proxyd.edges import grpc_api
from ollama_proxyd.edges.grpc_api import compute_pb2

FOLDER = Path(grpc_api.__file__).parent
NUMBERS = {
    "GenerateRequest": "prompt model annotations options",
    "JobAnnotations": "target latency_critical prefer_power_efficiency cache_enabled max_latency_ms max_power_watts "
    "custom",
    "GenerationOptions": "max_tokens temperature top_p top_k stop context_length",
    "GenerateResponse": "response backend_used routing stats from_cache",
    "GenerateStreamResponse": "token done backend_used stats",
    "RoutingMetadata": "backend reason estimated_power_watts estimated_latency_ms alternatives",
    "GenerationStats": "time_to_first_token_ms total_time_ms tokens_generated tokens_per_second energy_wh",
    "EmbedRequest": "text model annotations",
    "EmbedResponse": "embedding backend_used routing",
    "ListBackendsRequest": "type_filter",
    "ListBackendsResponse": "backends",
    "BackendInfo": "id type name hardware status capabilities metrics",
    "BackendStatus": "state message last_check_unix",
    "BackendCapabilities": "generate embed stream models max_context",
    "BackendMetrics": "avg_latency_ms requests_per_minute error_rate power_watts loaded_models",
    "HealthCheckRequest": "",
    "HealthCheckResponse": "status backend_health timestamp_unix",
    "ExecutePipelineRequest": "pipeline_id input options annotations",
}
"""The fields of the earlier proxy, in the order of their numbers from 1."""


def test_what_protoc_made_is_up_to_date(tmp_path: Path) -> None:
    assert protoc.main(["protoc", f"-I{FOLDER}", f"--python_out={tmp_path}", "compute.proto"]) == 0
    made, kept = (folder / "compute_pb2.py" for folder in (tmp_path, FOLDER))
    assert made.read_text() == kept.read_text(), "run scripts/protos"


def test_fields_have_the_numbers_of_the_earlier_proxy() -> None:
    messages = compute_pb2.DESCRIPTOR.message_types_by_name
    for name, fields in NUMBERS.items():
        known = messages[name].fields_by_name
        assert {field: known[field].number for field in fields.split()} == {
            field: number for number, field in enumerate(fields.split(), 1)
        }
