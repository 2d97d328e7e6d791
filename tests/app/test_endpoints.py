"""The endpoints that a picker picks from: each address of a name is one of its own."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.app import endpoints
from ollama_proxyd.app.endpoints import Endpoints
from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.policy.priors import CLASS_PRIORS
from tests.fakes import FakeClock


def config_of(folder: Path, *backends: dict[str, Any]) -> Config:
    file = folder / "config.yaml"
    file.write_text(json.dumps({"backends": [{"type": "openai", **each} for each in backends]}))
    return LaunchOptions({"HOME": str(folder)}, file, is_picker=True).load()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """The addresses that each name has now."""
    known: dict[str, tuple[str, ...]] = {}

    async def addresses_of(endpoint: str) -> tuple[str, ...]:
        host = endpoint.split("/")[2].split(":", maxsplit=1)[0]
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return known[host]

    monkeypatch.setattr(endpoints, "addresses_of", addresses_of)
    return known


async def test_a_name_with_several_addresses_is_several_backends(
    tmp_path: Path, names: dict[str, tuple[str, ...]]
) -> None:
    names["pods"] = ("10.0.0.1", "10.0.0.2", "fd00::1")
    config = config_of(tmp_path, {"id": "vllm", "endpoint": "http://pods:8000/v1", "hardware": "nvidia"})
    found = await Endpoints(FakeClock()).offer(config, has_better=False)
    assert [(each.spec.id, each.spec.endpoint) for each in found] == [
        ("vllm-10-0-0-1", "http://10.0.0.1:8000/v1"),
        ("vllm-10-0-0-2", "http://10.0.0.2:8000/v1"),
        ("vllm-fd00--1", "http://[fd00::1]:8000/v1"),
    ]
    for each in found:
        assert each.spec.profile.power_w == CLASS_PRIORS[each.spec.hardware].power_w, "those of its class"
        assert not each.spec.is_local, "no sensor of this machine speaks for it"


async def test_a_name_that_cannot_be_looked_up_keeps_its_last_addresses_and_is_told_once(
    tmp_path: Path, names: dict[str, tuple[str, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(tmp_path, {"id": "vllm", "endpoint": "http://pods:8000"})
    source = Endpoints(FakeClock())
    assert await source.offer(config, has_better=False) == ()
    names["pods"] = ("10.0.0.1",)
    first = await source.offer(config, has_better=False)
    del names["pods"]
    assert await source.offer(config, has_better=False) == await source.offer(config, has_better=False) == first
    assert sum("has no address now" in each.message for each in caplog.records) == 2, "once for each time it went"


async def test_an_address_stays_what_it_is_and_tls_is_left_to_the_gateway(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(
        tmp_path,
        {"id": "a", "endpoint": "http://10.0.0.1:8000", "characteristics": {"power_watts": 70}},
        {"id": "b", "endpoint": "https://10.0.0.2:8000"},
        {"id": "c", "endpoint": "http://localhost:8001"},
    )
    found = await Endpoints(FakeClock()).offer(config, has_better=False)
    assert [(each.spec.id, each.spec.endpoint) for each in found] == [
        ("a", "http://10.0.0.1:8000"),
        ("c", "http://127.0.0.1:8001"),
    ]
    assert found[0].spec.profile.power_w == 70
    assert any("backend b is left out" in each.message for each in caplog.records)


def test_a_picker_without_endpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="backends: the picker looks for no engines; name the endpoints"):
        config_of(tmp_path)
