"""llama-cpp-python's server."""

from ollama_proxyd.edges.backends.engine import Engine, Sign, has

ENGINE = Engine(
    name="llama-cpp-python",
    label="llama-cpp-python",
    signs=(Sign("/openapi.json", has("paths", "/extras/tokenize"), "its OpenAPI has /extras/tokenize"),),
    ports=(8000,),
    resident=True,
)
