"""What the scripted upstream says of itself: a llama-server or an Ollama, with the models of one case."""

from typing import Any

from tests.faults.answers import DATE
from tests.faults.exchange import Exchange

DETAILS = {"format": "gguf", "family": "llama", "parameter_size": "163K", "quantization_level": "Q8_0"}
META = {"n_ctx": 8192, "n_ctx_train": 8192, "n_embd": 64, "n_params": 162752, "size": 434432, "n_vocab": 693}
PROPS = {"total_slots": 1024, "build_info": "b11669-scripted", "chat_template": "{{ messages }}"}


def models(told: str) -> list[str]:
    """The names that an address tells: one, or numbers."""
    return [f"m{number}" for number in told.split(",")] if told[0].isdigit() else [told]


def answer_probe(method: str, x: Exchange) -> Any:
    """The answer to a health check; None where it is a request for an answer."""
    path = x.path
    if path == "/api/show":
        capabilities = ["completion", "embedding"] if "embed" in x.model else ["completion"]
        return {"details": DETAILS, "model_info": {"general.architecture": "llama"}, "capabilities": capabilities}
    if method != "GET":
        return None
    names = models(x.knows)
    listed = [
        {"name": name, "model": name, "digest": f"d-{name}", "size": 434432, "details": DETAILS} for name in names
    ]
    answers: dict[str, Any] = {
        "/health": {"status": "ok"},
        "/props": PROPS,
        "/v1/models": {"object": "list", "data": [{"id": name, "object": "model", "meta": META} for name in names]},
        "/api/version": {"version": "0.33.0"},
        "/api/tags": {"models": [{**entry, "modified_at": DATE} for entry in listed]},
        "/api/ps": {"models": [{**entry, "size_vram": 0, "expires_at": "2099-01-01T00:00:00Z"} for entry in listed]},
    }
    return answers.get(path, {})
