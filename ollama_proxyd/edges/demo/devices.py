"""The four devices of the demo fleet: how fast they are, what they draw, and what they hold."""

from ollama_proxyd.core.fleet import Hardware, Model, Profile
from ollama_proxyd.core.values import value


def _model(name: str, digest: str, size_bytes: int, parameters: str, context_length: int) -> Model:
    return Model(
        name=name,
        size_bytes=size_bytes,
        digest=digest,
        modified_at="2026-01-01T00:00:00Z",
        family="simulated",
        parameter_size=parameters,
        quantization="Q4_0",
        format="simulated",
        context_length=context_length,
        embedding_length=64,
        capabilities=frozenset({"completion"}),
    )


SMALL = _model("demo:latest", "d" * 64, 1_200_000_000, "2B", 8192)
LARGE = _model("demo-large:latest", "e" * 64, 8_400_000_000, "14B", 32768)


@value
class SimulatedDevice:
    """A device that is simulated: its pace in seconds and tokens a second, its draw in watts."""

    id: str
    label: str
    hardware: Hardware
    power_w: float
    ttft_s: float
    decode_tps: float
    models: tuple[Model, ...]

    @property
    def profile(self) -> Profile:
        """What the device's configuration would say."""
        return Profile(power_w=self.power_w, ttft_s=self.ttft_s, decode_tps=self.decode_tps)


DEVICES = (
    SimulatedDevice("npu", "NPU", Hardware.NPU, 3.0, 0.8, 10.0, (SMALL,)),
    SimulatedDevice("igpu", "integrated GPU", Hardware.IGPU, 12.0, 0.35, 22.0, (SMALL,)),
    SimulatedDevice("nvidia", "NVIDIA GPU", Hardware.NVIDIA, 55.0, 0.15, 65.0, (SMALL, LARGE)),
    SimulatedDevice("cpu", "CPU", Hardware.CPU, 28.0, 1.2, 6.0, (SMALL, LARGE)),
)
