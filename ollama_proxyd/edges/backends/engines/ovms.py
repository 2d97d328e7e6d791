"""OpenVINO Model Server."""

from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.quirks import VLLM
from ollama_proxyd.edges.backends.engine import Answer, Engine, Question, Sign
from ollama_proxyd.edges.backends.facts import read_version
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import is_label, items, text


def _names_itself(answer: Answer) -> bool:
    name = text(answer.json, "name") or ""
    return answer.status == 200 and "openvino" in name.lower()


def _lists_versions(answer: Answer) -> bool:
    body = answer.json
    served = isinstance(body, dict) and bool(body)
    return answer.status == 200 and served and all(items(body, name, "model_version_status") for name in body)


def read_config(body: Json) -> Findings:
    """/v1/config: its models by name, for releases without /v3/models."""
    names = tuple(body) if isinstance(body, dict) else ()
    served = tuple(name for name in names if is_label(name) and items(body, name, "model_version_status"))
    return Findings(models=tuple(Model(name=name, format="openvino") for name in served))


ENGINE = Engine(
    name="ovms",
    label="OpenVINO Model Server",
    signs=(
        Sign("/v2", _names_itself, "/v2 names OpenVINO Model Server"),
        Sign("/v1/config", _lists_versions, "/v1/config lists model versions"),
    ),
    ports=(8000, 8001),
    speaks=(OpenAI("/v3", VLLM),),
    health="/v2/health/ready",
    models=Question("/v1/config", read_config),
    extras=(Question("/v2", read_version),),
    resident=True,
)
