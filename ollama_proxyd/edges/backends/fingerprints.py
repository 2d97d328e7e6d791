"""How each engine is told by what it answers: a table from the rarest sign to the commonest, never by port."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ollama_proxyd.core.requests import Api, Json
from ollama_proxyd.edges.backends.lenient import at, items, text, truth, whole

OWN_NAME = "ollama-proxyd"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said to a GET: header names in lower case; `json` is None where the body is not JSON."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    json: Json = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A sign of one engine: the path to ask, what must come back, and that sign in words.

    `kind` None marks what must never become a backend.
    """

    flavor: str
    kind: Api | None
    path: str
    matches: Callable[[Answer], bool]
    sign: str


def _json_list(answer: Answer, list_key: str, name_key: str) -> tuple[Json, ...]:
    """The entries of a list in which every entry has its name, () otherwise."""
    entries = items(answer.json, list_key) if answer.status == 200 else ()
    return entries if all(text(entry, name_key) for entry in entries) else ()


def _says(*path: str, value: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 200 and at(answer.json, *path) == value


def _is_lemonade(answer: Answer) -> bool:
    body = answer.json
    names_models = isinstance(body, dict) and ("all_models_loaded" in body or "model_loaded" in body)
    return answer.status == 200 and names_models and text(body, "status") is not None


def _is_lmstudio(answer: Answer) -> bool:
    return answer.status == 200 and truth(answer.json, "lmstudio")


def _is_localai(answer: Answer) -> bool:
    return answer.status == 200 and isinstance(answer.json, dict) and "endpoints" in answer.json


def _is_openai_list(answer: Answer) -> bool:
    return text(answer.json, "object") == "list" and bool(_json_list(answer, "data", "id"))


def _is_ovms(answer: Answer) -> bool:
    name = text(answer.json, "name") or ""
    return answer.status == 200 and "openvino" in name.lower()


def _is_ovms_config(answer: Answer) -> bool:
    body = answer.json
    served = isinstance(body, dict) and bool(body)
    return answer.status == 200 and served and all(items(body, name, "model_version_status") for name in body)


def _has_text(key: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 200 and text(answer.json, key) is not None


def _is_tgi(answer: Answer) -> bool:
    return _has_text("model_id")(answer) and whole(answer.json, "max_concurrent_requests") is not None


def _is_llamacpp(answer: Answer) -> bool:
    by_header = answer.headers.get("server") == "llama.cpp" and answer.status in {200, 503}
    by_props = whole(answer.json, "total_slots") is not None or text(answer.json, "role") == "router"
    return by_header or (answer.status == 200 and by_props and text(answer.json, "build_info") is not None)


def _serves(path: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 200 and at(answer.json, "paths", path) is not None


def _owned_by(owner: str) -> Callable[[Answer], bool]:
    return lambda answer: any(text(entry, "owned_by") == owner for entry in _json_list(answer, "data", "id"))


def _is_mlx(answer: Answer) -> bool:
    return answer.headers.get("server", "").startswith("BaseHTTP/") and _is_openai_list(answer)


def _is_ollama(answer: Answer) -> bool:
    return answer.status == 200 and answer.text.strip() == "Ollama is running"


def _is_ollama_list(answer: Answer) -> bool:
    return any(text(entry, "digest") for entry in _json_list(answer, "models", "name"))


OLLAMA, OPENAI = Api.OLLAMA, Api.OPENAI

FINGERPRINTS: tuple[Fingerprint, ...] = (
    Fingerprint(OWN_NAME, None, "/version", _says("name", value=OWN_NAME), "it is ollama-proxyd itself"),
    Fingerprint(
        "koboldcpp",
        OPENAI,
        "/api/extra/version",
        _says("result", value="KoboldCpp"),
        "/api/extra/version names KoboldCpp",
    ),
    Fingerprint("lemonade", OPENAI, "/api/v1/health", _is_lemonade, "/api/v1/health lists Lemonade's loaded models"),
    Fingerprint("lmstudio", OPENAI, "/lmstudio-greeting", _is_lmstudio, "/lmstudio-greeting says lmstudio"),
    Fingerprint("localai", OPENAI, "/.well-known/localai.json", _is_localai, "it has /.well-known/localai.json"),
    Fingerprint(
        "docker-model-runner", OPENAI, "/engines/v1/models", _is_openai_list, "/engines/v1/models lists models"
    ),
    Fingerprint("ovms", OPENAI, "/v2", _is_ovms, "/v2 names OpenVINO Model Server"),
    Fingerprint("ovms", OPENAI, "/v1/config", _is_ovms_config, "/v1/config lists model versions"),
    Fingerprint("sglang", OPENAI, "/get_model_info", _has_text("model_path"), "/get_model_info has model_path"),
    Fingerprint("tgi", OPENAI, "/info", _is_tgi, "/info has model_id and max_concurrent_requests"),
    Fingerprint(
        "text-generation-webui",
        OPENAI,
        "/v1/internal/model/info",
        _has_text("model_name"),
        "/v1/internal/model/info has model_name",
    ),
    Fingerprint("llamacpp", OPENAI, "/props", _is_llamacpp, "/props and its Server header are llama.cpp's"),
    Fingerprint(
        "llama-cpp-python", OPENAI, "/openapi.json", _serves("/extras/tokenize"), "its OpenAPI has /extras/tokenize"
    ),
    Fingerprint("transformers", OPENAI, "/openapi.json", _serves("/load_model"), "its OpenAPI has /load_model"),
    Fingerprint("vllm", OPENAI, "/v1/models", _owned_by("vllm"), "its models are owned by vllm"),
    Fingerprint("lmdeploy", OPENAI, "/v1/models", _owned_by("lmdeploy"), "its models are owned by lmdeploy"),
    Fingerprint("mlx", OPENAI, "/v1/models", _is_mlx, "a list of models from a plain Python server"),
    Fingerprint("ollama", OLLAMA, "/", _is_ollama, 'it answers "Ollama is running"'),
    Fingerprint("ollama", OLLAMA, "/api/tags", _is_ollama_list, "/api/tags lists models with digests"),
    Fingerprint("generic", OPENAI, "/v1/models", _is_openai_list, "/v1/models lists models"),
)

PATHS = tuple(dict.fromkeys(each.path for each in FINGERPRINTS))


def recognise(answers: Mapping[str, Answer]) -> Fingerprint | None:
    """The first sign that fits a server's answers by path; None when it is none of the known engines."""
    return next((sign for sign in FINGERPRINTS if sign.path in answers and sign.matches(answers[sign.path])), None)
