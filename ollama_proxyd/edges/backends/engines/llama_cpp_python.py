"""llama-cpp-python's server."""

from ollama_proxyd.edges.backends.engine import Engine, Sign, serves

ENGINE = Engine(
    name="llama-cpp-python",
    label="llama-cpp-python",
    signs=(Sign("/openapi.json", serves("/extras/tokenize"), "its OpenAPI has /extras/tokenize"),),
    ports=(8000,),
    resident=True,
)
