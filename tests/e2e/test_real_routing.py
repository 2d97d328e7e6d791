"""Real engines of different cost: which one answers, what a person changes by one call, and what nobody changes."""

import json
from typing import Any

import pytest

from tests.e2e.harness import (
    NPU,
    NVIDIA,
    Daemon,
    Fleet,
    LlamaServer,
    Reply,
    StartDaemon,
    StartLlama,
    backend,
    config_of,
    llama,
    wait_until,
)
from tests.e2e.tiny_model import HELLO, PIXEL, REPLY
from tests.free_ports import free_port

pytestmark = pytest.mark.real


def chat(daemon: Daemon, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    body = {"model": "tiny", "messages": HELLO, "temperature": 0, "max_tokens": 200, **fields}
    return daemon.post("/v1/chat/completions", body, headers)


def used(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    return reply.headers["x-backend-used"]


@pytest.fixture
def pair(start_llama: StartLlama) -> tuple[LlamaServer, LlamaServer]:
    """Two engines with the same model."""
    first, second = start_llama("tiny"), start_llama("tiny")
    return first.ready(), second.ready()


def two_devices(first: LlamaServer, second: LlamaServer, **sections: Any) -> dict[str, Any]:
    return config_of(
        llama("npu", first, hardware="npu", characteristics=NPU),
        llama("nvidia", second, hardware="nvidia", characteristics=NVIDIA),
        **sections,
    )


SELDOM_CHECKED = {"health_interval_s": 3600}


def test_a_mode_set_by_one_call_moves_the_next_request_and_outlives_a_restart(
    pair: tuple[LlamaServer, LlamaServer], start_daemon: StartDaemon
) -> None:
    config = two_devices(*pair)
    daemon = start_daemon(config).ready_with("npu", "nvidia")
    assert daemon.post("/efficiency", {"mode": "Performance"}).status == 200
    fast = chat(daemon)
    assert used(fast) == "nvidia"
    assert daemon.post("/efficiency", {"mode": "UltraEfficiency"}).status == 200
    thrifty = chat(daemon)
    assert used(thrifty) == "npu"
    assert fast.headers["x-routing-reason"] != thrifty.headers["x-routing-reason"]
    daemon.stop()
    again = start_daemon(config, daemon.folder).ready_with("npu", "nvidia")
    assert again.get("/efficiency").json()["mode"] == "UltraEfficiency"
    assert used(chat(again)) == "npu"


def test_an_unknown_mode_changes_nothing(daemon: Daemon) -> None:
    before = daemon.get("/efficiency").json()
    reply = daemon.post("/efficiency", {"mode": "Warp"})
    assert reply.status == 400
    assert "Warp" in reply.body.decode()
    assert daemon.get("/efficiency").json() == before


def test_hints_outweigh_the_mode_for_one_request(
    pair: tuple[LlamaServer, LlamaServer], start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(two_devices(*pair)).ready_with("npu", "nvidia")
    assert used(chat(daemon, {"X-Latency-Critical": "true"})) == "nvidia"
    assert used(chat(daemon, {"X-Max-Power-Watts": "3.5"})) == "npu"
    assert used(chat(daemon, {"X-Target-Backend": "nvidia"})) == "nvidia"
    refused = chat(daemon, {"X-Max-Power-Watts": "1.5"})
    assert refused.status == 422
    assert "1.5" in refused.json()["error"]["message"]


def test_an_engine_that_dies_before_its_first_byte_is_replaced_by_another(
    pair: tuple[LlamaServer, LlamaServer], start_daemon: StartDaemon
) -> None:
    config = two_devices(*pair, efficiency={"default_mode": "UltraEfficiency"}, monitoring=SELDOM_CHECKED)
    config["efficiency"]["modes"] = {"UltraEfficiency": {"max_power_watts": None}}
    daemon = start_daemon(config).ready_with("npu", "nvidia")
    assert used(chat(daemon)) == "npu"
    pair[0].kill()
    reply = chat(daemon)
    assert used(reply) == "nvidia"
    assert reply.json()["choices"][0]["message"]["content"] == REPLY


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_an_engine_that_dies_in_mid_stream_ends_the_stream_with_an_error(
    path: str, start_llama: StartLlama, start_daemon: StartDaemon
) -> None:
    doomed = start_llama("tiny", "--ignore-eos", "--context-shift").ready()
    daemon = start_daemon(config_of(llama("doomed", doomed), monitoring=SELDOM_CHECKED)).ready_with("doomed")
    with daemon.opened("POST", path, {"model": "tiny", "messages": HELLO, "stream": True}) as response:
        assert response.readline()
        doomed.kill()
        *_, last = [line for line in response.read().splitlines() if line]
    assert "error" in json.loads(last.removeprefix(b"data: "))


def test_an_image_that_the_engine_cannot_see_burns_no_other_engine(
    pair: tuple[LlamaServer, LlamaServer], start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(two_devices(*pair, monitoring=SELDOM_CHECKED)).ready_with("npu", "nvidia")
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    for _ in range(3):
        reply = chat(daemon, messages=[{"role": "user", "content": [picture]}])
        assert 400 <= reply.status < 500, reply.body
    assert daemon.healthy() == {"npu", "nvidia"}
    assert used(chat(daemon, {"X-Target-Backend": "npu"})) == "npu"
    assert used(chat(daemon, {"X-Target-Backend": "nvidia"})) == "nvidia"


def test_an_explicit_target_is_never_replaced_by_another(fleet: Fleet, start_daemon: StartDaemon) -> None:
    absent = backend("absent", f"http://127.0.0.1:{free_port()}")
    daemon = start_daemon(config_of(llama("here", fleet.tiny), absent)).ready_with("here")
    unknown = chat(daemon, {"X-Target-Backend": "nowhere"})
    assert unknown.status == 404
    assert "nowhere" in unknown.json()["error"]["message"]
    down = chat(daemon, {"X-Target-Backend": "absent"})
    assert down.status == 503
    assert "retry-after" in down.headers
    assert used(chat(daemon, {"X-Target-Backend": "here"})) == "here"


def test_an_engine_that_starts_later_joins(start_llama: StartLlama, start_daemon: StartDaemon) -> None:
    port = free_port()
    late = backend("late", f"http://127.0.0.1:{port}", flavor="llamacpp")
    often = {"health_interval_s": 0.2, "health_timeout_s": 0.2}
    daemon = start_daemon(config_of(late, monitoring=often)).alive()
    assert daemon.get("/readyz").status == 503
    early = chat(daemon)
    assert early.status == 503
    assert "retry-after" in early.headers
    start_llama("tiny", port=port).ready()
    assert used(chat(daemon.ready_with("late"))) == "late"


def test_an_engine_behind_a_key_is_asked_with_it(start_llama: StartLlama, start_daemon: StartDaemon) -> None:
    guarded = start_llama("tiny", "--api-key", "s3cret").ready()
    config = config_of(llama("guarded", guarded, api_key_env="ENGINE_KEY"))
    daemon = start_daemon(config, env={"ENGINE_KEY": "s3cret"}).ready_with("guarded")
    assert used(chat(daemon)) == "guarded"
    assert "s3cret" not in daemon.log.read_text() + daemon.get("/backends").body.decode()


def test_a_dry_run_decides_as_the_real_thing_and_leaves_no_trace(
    pair: tuple[LlamaServer, LlamaServer], start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(two_devices(*pair, monitoring=SELDOM_CHECKED)).ready_with("npu", "nvidia")
    before = daemon.counted_requests()
    explained = [daemon.post("/routing/explain", {"model": "tiny"}).json() for _ in range(5)]
    assert all(answer == explained[0] for answer in explained)
    assert daemon.counted_requests() == before
    assert used(chat(daemon)) == explained[0]["ranked"][0]["backend_id"]
    assert daemon.counted_requests() != before


def test_a_dry_run_answers_where_a_request_would_go_on_a_low_battery(
    pair: tuple[LlamaServer, LlamaServer], start_daemon: StartDaemon
) -> None:
    config = two_devices(*pair, efficiency={"default_mode": "Auto", "quiet_hours": {"enabled": False}})
    daemon = start_daemon(config).ready_with("npu", "nvidia")

    def explain(**system: object) -> dict[str, Any]:
        reply = daemon.post("/routing/explain", {"model": "tiny", "system": system})
        assert reply.status == 200, reply.body
        answer: dict[str, Any] = reply.json()
        return answer

    low = explain(on_battery=True, battery_percent=20)
    assert low["ranked"][0]["backend_id"] == "npu"
    assert "20" in low["mode_reason"]
    full = explain(on_battery=False, battery_percent=100)
    assert full["ranked"][0]["backend_id"] == "nvidia"
    wait_until(lambda: daemon.get("/efficiency").json()["mode"] == "Auto", "the mode is as it was")
