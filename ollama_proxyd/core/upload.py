"""A request whose body is a form with files."""

from ollama_proxyd.core.values import value


@value
class Upload:
    """A form with files as the client sent it, in memory once; `model_at` is where its field `model` stands."""

    form: bytearray
    content_type: str
    model_at: slice
