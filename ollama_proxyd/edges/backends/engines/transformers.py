"""transformers serve, of Hugging Face."""

from ollama_proxyd.edges.backends.engine import VERSION, Engine, Sign, has

ENGINE = Engine(
    name="transformers",
    label="transformers serve",
    signs=(Sign("/openapi.json", has("paths", "/load_model"), "its OpenAPI has /load_model"),),
    ports=(8000,),
    health="/health",
    extras=(VERSION,),
)
