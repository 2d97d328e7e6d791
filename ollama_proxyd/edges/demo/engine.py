"""One simulated device: takes requests one after another and answers at its own pace."""

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from itertools import cycle, islice

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, FinishReason, Timings, Usage
from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.requests import Embedding, LoadAction, Request
from ollama_proxyd.edges.demo.devices import SimulatedDevice

TYPICAL_TOKENS = 200
"""How long an answer is when the request does not limit it."""

_VECTOR_LENGTH = 64


class SimulatedEngine:
    """Answers requests as the device would; `time_scale` below 1 makes it faster than life."""

    def __init__(self, device: SimulatedDevice, time_scale: float) -> None:
        self.device = device
        self._time_scale = time_scale
        self._turn = asyncio.Lock()
        self._loaded = {model.name for model in device.models}

    def model(self, name: str) -> Model:
        """The model that a name means; raises ProxyError when the device has none of that name."""
        for model in self.device.models:
            if canonical(model.name) == canonical(name):
                return model
        raise ProxyError(ErrorKind.MODEL_NOT_FOUND, f"model '{name}' not found")

    def loaded(self) -> tuple[LoadedModel, ...]:
        """The models in memory: all of them until one is unloaded."""
        return tuple(
            LoadedModel(model.name, size_bytes=model.size_bytes, context_length=model.context_length)
            for model in self.device.models
            if model.name in self._loaded
        )

    async def answer(self, request: Request) -> AsyncGenerator[Event, None]:
        """The events of the answer, each at its time."""
        model = self.model(request.model)
        if request.load_action is LoadAction.UNLOAD:
            self._loaded.discard(model.name)
            yield Finished(FinishReason.UNLOAD)
            return
        self._loaded.add(model.name)
        if request.load_action is LoadAction.LOAD:
            yield Finished(FinishReason.LOAD)
            return
        content = request.content()
        async with self._turn:
            if isinstance(content, Embedding):
                await asyncio.sleep(self.device.ttft_s * self._time_scale)
                yield Embedded(tuple(vector(text) for text in content.inputs))
                yield Finished(usage=Usage(prompt_tokens=request.prompt_tokens))
                return
            async with aclosing(self._speak(request)) as events:
                async for event in events:
                    yield event

    async def _speak(self, request: Request) -> AsyncGenerator[Event, None]:
        """Words at the device's pace, measured from the start so that delays do not add up."""
        count = min(TYPICAL_TOKENS if request.max_tokens is None else request.max_tokens, TYPICAL_TOKENS)
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        first_s = began_s + self.device.ttft_s * self._time_scale
        for number, word in enumerate(islice(tokens(self.device), count)):
            await asyncio.sleep(max(0.0, first_s + number / self.device.decode_tps * self._time_scale - now_s()))
            yield Delta(text=word)
        yield Finished(
            FinishReason.LENGTH if count < TYPICAL_TOKENS else FinishReason.STOP,
            Usage(prompt_tokens=request.prompt_tokens, completion_tokens=count),
            Timings(prompt_s=first_s - began_s, decode_s=max(now_s() - first_s, 0.0)),
        )


def tokens(device: SimulatedDevice) -> Iterator[str]:
    """Words without end; each token is one word with the space before it."""
    timing = f"begin after {device.ttft_s:g} seconds, say {device.decode_tps:g} words a second"
    sentences = (
        f"I am the simulated {device.label} of ollama-proxyd's demo fleet.",
        "No model is loaded and nothing was computed: these words are fixed.",
        f"This is what I pretend to do: draw {device.power_w:g} watts, {timing}.",
        "The way here was real: ollama-proxyd compared every device's energy and speed for your request.",
        "Switch the efficiency mode and ask again, and another device may answer.",
        "Configure an engine of your own, and I will keep silent.",
    )
    words = cycle(" ".join(sentences).split())
    yield next(words)
    for word in words:
        yield f" {word}"


def vector(text: str) -> tuple[float, ...]:
    """A vector of unit length that is the same for the same text, and means nothing."""
    digest = hashlib.shake_128(text.encode()).digest(2 * _VECTOR_LENGTH)
    numbers = [int.from_bytes(digest[at : at + 2], "little") / 32767.5 - 1 for at in range(0, len(digest), 2)]
    length = math.hypot(*numbers)
    return tuple(number / length for number in numbers)
