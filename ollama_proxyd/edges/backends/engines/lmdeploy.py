"""LMDeploy."""

from ollama_proxyd.edges.backends.engine import Engine, Sign, owned_by

ENGINE = Engine(
    name="lmdeploy",
    label="LMDeploy",
    signs=(Sign("/v1/models", owned_by("lmdeploy"), "its models are owned by lmdeploy"),),
    ports=(23333,),
    health="/health",
    resident=True,
)
