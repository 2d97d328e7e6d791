"""text-generation-webui."""

from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends.engine import Engine, Question, Sign, has_text
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import label

_INFO = "/v1/internal/model/info"


def read_info(body: Json) -> Findings:
    """/v1/internal/model/info: the model in memory."""
    name = label(body, "model_name")
    return Findings(loaded=(LoadedModel(name),) if name and name != "None" else ())


ENGINE = Engine(
    name="text-generation-webui",
    label="text-generation-webui",
    signs=(Sign(_INFO, has_text("model_name"), f"{_INFO} has model_name"),),
    ports=(5000,),
    extras=(Question(_INFO, read_info),),
)
