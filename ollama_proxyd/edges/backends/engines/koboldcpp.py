"""KoboldCpp."""

from ollama_proxyd.edges.backends.engine import Engine, Question, Sign, says
from ollama_proxyd.edges.backends.facts import read_version

_VERSION = "/api/extra/version"

ENGINE = Engine(
    name="koboldcpp",
    label="KoboldCpp",
    signs=(Sign(_VERSION, says("result", value="KoboldCpp"), "/api/extra/version names KoboldCpp"),),
    ports=(5001,),
    extras=(Question(_VERSION, read_version),),
    slots=1,
    resident=True,
)
