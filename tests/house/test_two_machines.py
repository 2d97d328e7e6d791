"""Two paired machines answer for each other, over a real network of their own; a third one learns nothing."""

import json
import signal

from tests.e2e.harness import ROOT, wait_until
from tests.house.conftest import PORT, House, Machine

CHAT = {"model": "demo:latest", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


def words_of(answer: bytes) -> tuple[str, bool]:
    """What was said, and whether the answer came to its end without an error."""
    data = [line[6:] for line in answer.decode().splitlines() if line.startswith("data: ")]
    frames = [json.loads(each) for each in data if each != "[DONE]"]
    said = "".join(each["choices"][0]["delta"].get("content") or "" for each in frames if each.get("choices"))
    return said, data[-1:] == ["[DONE]"] and not any("error" in each for each in frames)


def targeted(machine: Machine, backend: str) -> tuple[int, bytes, str | None]:
    headers = {"X-Target-Backend": backend}
    with machine.sent("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 8}, headers) as reply:
        return reply.status, reply.read(), reply.headers.get("X-Backend-Used")


def test_what_one_shares_the_other_has(house: House) -> None:
    assert {"npu", "desktop/npu", "desktop/nvidia"} <= house.laptop.healthy()
    assert {"npu", "laptop/npu"} <= house.desktop.healthy()
    (peer,) = house.laptop.house()["peers"]
    assert (peer["name"], peer["is_connected"]) == ("desktop", True)
    assert peer["rtt_ms"] > 0


def test_nothing_goes_in_circles(house: House) -> None:
    assert not [each for machine in house.machines[:2] for each in machine.healthy() if each.count("/") > 1]


def test_an_answer_comes_from_the_other_machine(house: House) -> None:
    status, body, used = targeted(house.laptop, "desktop/npu")
    said, is_whole = words_of(body)
    assert (status, used, is_whole) == (200, "desktop/npu", True)
    assert said
    programs = house.desktop.ask("GET", "/requests")[1]
    assert b'"npu"' in programs


def test_a_place_in_a_trace_reaches_the_engine_on_the_other_machine(house: House) -> None:
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "vendor=some,other=more"}
    with house.desktop.runs(str(ROOT / "tests/house/listening_engine.py"), "9999") as engine:
        house.desktop.stop()
        house.desktop.start([{"id": "tells", "type": "openai", "endpoint": "http://127.0.0.1:9999"}])
        wait_until(lambda: "desktop/tells" in house.laptop.healthy(), "the laptop has the engine", 60, 0.2)
        asked = {"model": "listener", "messages": CHAT["messages"]}
        headers = {"X-Target-Backend": "desktop/tells", **trace}
        with house.laptop.sent("POST", "/v1/chat/completions", asked, headers) as reply:
            assert (reply.status, reply.headers.get("X-Backend-Used")) == (200, "desktop/tells")
            reply.read()
        heard = json.loads(engine.readline())
    house.desktop.stop()
    house.desktop.start()
    wait_until(lambda: "desktop/npu" in house.laptop.healthy(), "the laptop has the desktop's backends again", 60, 0.2)
    assert {name: heard.get(name) for name in trace} == trace


def test_the_network_and_its_joules_are_terms(house: House) -> None:
    status, body = house.laptop.ask("POST", "/routing/explain", {"model": "demo:latest"})
    terms = {each["backend_id"]: each["terms"] for each in json.loads(body)["ranked"]}
    assert status == 200
    assert terms["desktop/npu"]["other_machine_joules"] > 0 == terms["npu"]["other_machine_joules"]


def test_on_battery_the_machine_on_mains_answers(house: House) -> None:
    """The same watts there and here: the network and the radio decide on mains, the battery elsewhere."""

    def first(**machine: object) -> str:
        body = {"model": "demo:latest", "mode": "Efficiency", "system": machine}
        status, answer = house.laptop.ask("POST", "/routing/explain", body)
        assert status == 200, answer
        return str(json.loads(answer)["ranked"][0]["backend_id"])

    assert "/" not in first(on_battery=False)
    assert first(on_battery=True).startswith("desktop/")


def test_a_reload_keeps_what_is_paired(house: House) -> None:
    house.laptop.signal(signal.SIGHUP)
    wait_until(lambda: "the configuration was reloaded" in house.laptop.log(), "the reload", 30)
    wait_until(lambda: "desktop/npu" in house.laptop.healthy(), "the backends are there", 30, 0.2)


def test_a_stranger_learns_nothing(house: House) -> None:
    """Neither without a certificate nor with one of its own does TLS come about."""
    house.stranger.execute(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"),
        *("-subj", "/CN=laptop", "-keyout", "/tmp/house-stranger.key", "-out", "/tmp/house-stranger.pem"),
    )
    for certificate in ((), ("-cert", "/tmp/house-stranger.pem", "-key", "/tmp/house-stranger.key")):
        done = house.stranger.execute(
            *("openssl", "s_client", "-quiet", "-connect", f"{house.desktop.address}:{PORT}", *certificate),
            stdin="GET /house/status HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        assert "HTTP/1.1" not in done.stdout
        assert "npu" not in done.stdout


def test_a_flood_of_strangers_keeps_nobody_out(house: House) -> None:
    flood = f"exec 3<>/dev/tcp/{house.desktop.address}/{PORT}; sleep 20"
    house.stranger.execute("bash", "-c", f"for i in $(seq 60); do ({flood}) & done; sleep 1; echo on; kill $(jobs -p)")
    status, body, used = targeted(house.laptop, "desktop/npu")
    assert (status, used, words_of(body)[1]) == (200, "desktop/npu", True)


def test_a_code_works_once(house: House) -> None:
    with house.desktop.sent("POST", "/house/pair", {}) as told:
        code = json.loads(told.readline())["code"]
        address = {"address": house.desktop.address}
        wrong = f"{(int(code.replace('-', '')) + 1) % 10**8:08}"
        assert house.laptop.ask("POST", "/house/pair", {"code": wrong, **address})[0] == 400
        assert house.laptop.ask("POST", "/house/pair", {"code": code, **address})[0] == 200
        assert json.loads(told.readline())["name"] == "laptop"
    assert house.laptop.ask("POST", "/house/pair", {"code": code, **address})[0] == 503


def test_a_cable_pulled_within_an_answer_leaves_it_whole(house: House) -> None:
    own = sorted(each for each in house.laptop.healthy() if "/" not in each and each != "cpu")
    for each in own:
        house.laptop.ask("POST", f"/backends/{each}", {"enabled": False})
    house.laptop.ask("POST", "/efficiency", {"mode": "Performance"})
    try:
        with house.laptop.sent("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 150}) as reply:
            assert (reply.headers["X-Backend-Used"] or "").startswith("desktop/")
            begun = reply.readline()
            house.desktop.unplug()
            said, is_whole = words_of(begun + reply.read())
        assert is_whole
        assert said
        wait_until(lambda: not [each for each in house.laptop.healthy() if "/" in each], "it is gone", 150, 0.5)
    finally:
        house.desktop.plug()
        for each in own:
            house.laptop.ask("POST", f"/backends/{each}", {"enabled": True})
    wait_until(lambda: "desktop/npu" in house.laptop.healthy(), "it is back", 90, 0.5)


def test_goodbye_ends_the_use_at_once(house: House) -> None:
    house.desktop.stop()
    wait_until(lambda: not [each for each in house.laptop.healthy() if "/" in each], "it is gone", 20, 0.2)
    house.desktop.start()
    wait_until(lambda: "desktop/npu" in house.laptop.healthy(), "it is back", 60, 0.2)


def test_unpaired_is_cut_off(house: House) -> None:
    assert house.desktop.ask("POST", "/house/unpair", {"name": "laptop"})[0] == 200
    wait_until(lambda: not [each for each in house.laptop.healthy() if "/" in each], "it is cut off", 30, 0.2)
    assert house.desktop.house()["peers"] == []
