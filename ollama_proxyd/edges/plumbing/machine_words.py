"""What a machine tells paired ones of itself: a line of JSON whenever it changes."""

import re
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from ollama_proxyd.core.fleet import Model

MOST_LINE_BYTES = 1024 * 1024
MOST_BACKENDS = 32
_Word: TypeAlias = Annotated[str, Meta(max_length=256)]
_Figure: TypeAlias = Annotated[float, Meta(ge=0, le=1e15)]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ModelWords(msgspec.Struct, omit_defaults=True):
    """A model that can be had there."""

    name: _Word
    size_bytes: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    digest: _Word | None = None
    family: _Word | None = None
    parameter_size: _Word | None = None
    quantization: _Word | None = None
    context_length: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    capabilities: Annotated[list[_Word], Meta(max_length=16)] | None = None

    def model(self) -> Model:
        """The same as any backend tells it."""
        return Model(
            self.name,
            self.size_bytes,
            self.digest,
            family=self.family,
            parameter_size=self.parameter_size,
            quantization=self.quantization,
            context_length=self.context_length,
            capabilities=None if self.capabilities is None else frozenset(self.capabilities),
        )


class BackendWords(msgspec.Struct, omit_defaults=True):
    """A backend there. `why_not`: why it is not shared now; `loaded` is None where that is not known."""

    id: _Word
    name: _Word
    hardware: _Word
    slots: Annotated[int, Meta(ge=1, le=1024)]
    power_w: _Figure
    models: Annotated[list[ModelWords], Meta(max_length=512)]
    loaded: Annotated[list[_Word], Meta(max_length=512)] | None = None
    ttft_s: _Figure | None = None
    decode_tps: _Figure | None = None
    why_not: _Word | None = None


class MachineWords(msgspec.Struct, omit_defaults=True):
    """The machine; what is not known is None."""

    backends: Annotated[list[BackendWords], Meta(max_length=MOST_BACKENDS)]
    on_battery: bool | None = None
    battery_percent: _Figure | None = None


def read_machine(line: bytes) -> MachineWords:
    """What a line tells; raises ValueError where it is none, or has a word that nothing may be called."""
    told = msgspec.json.decode(line, type=MachineWords)
    words = [word for each in told.backends for word in (each.name, *(model.name for model in each.models))]
    if not all(map(str.isprintable, words)) or not all(_ID.fullmatch(each.id) for each in told.backends):
        raise ValueError("what it tells has names that cannot be shown")
    return told
