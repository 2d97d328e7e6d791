"""`ollama-proxyctl calibrate`: what each backend needs for a token, measured through the daemon."""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from ollama_proxyd.cli.calibration import STEPS, Sample, Step, Target, measure, reckoned, targets
from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.core.requests import Operation
from tests.cli.conftest import Ctl, ServedDaemon
from tests.cli.program import Start, wait_until
from tests.fakes import FakeBackend


@pytest.fixture
def laptop(serve: Callable[..., ServedDaemon], control_socket: Any) -> tuple[ServedDaemon, FakeBackend, FakeBackend]:
    npu, cpu = FakeBackend("npu"), FakeBackend("cpu")
    daemon = serve(npu, cpu)
    daemon.listen(control_socket)
    return daemon, npu, cpu


Laptop = tuple[ServedDaemon, FakeBackend, FakeBackend]


def test_each_backend_is_asked_by_name_and_the_daemon_learns_from_it(laptop: Laptop, ctl: Ctl) -> None:
    daemon, npu, cpu = laptop
    told = ctl("calibrate", "--json")
    assert told.exit_code == 0
    assert f"{2 * len(STEPS)} short requests, one after the other, to npu, cpu" in told.stderr
    rows = json.loads(told.stdout)["rows"]
    assert [(row["backend"], row["model"], row["answers"], row["error"]) for row in rows] == [
        ("npu", "tiny:latest", len(STEPS) - 1, None),
        ("cpu", "tiny:latest", len(STEPS) - 1, None),
    ]
    assert rows[0]["energy_source"] == "estimated"
    assert [len(each.requests) for each in (npu, cpu)] == [len(STEPS)] * 2
    assert {asked.hints.target for asked, _ in npu.requests} == {"npu"}
    assert len({asked.body for asked, _ in npu.requests}) == len(STEPS)
    speeds = daemon.do(lambda: daemon.services.fleet.view("npu").speeds)
    assert speeds["tiny:latest"].samples > 1


def test_on_battery_it_refuses_unless_told(laptop: Laptop, ctl: Ctl) -> None:
    daemon, npu, _ = laptop
    daemon.know(on_battery=True)
    told = ctl("calibrate")
    assert told.exit_code == 1
    assert "--on-battery" in told.stderr
    assert not npu.requests
    assert ctl("calibrate", "--on-battery").exit_code == 0
    assert npu.requests


def test_one_backend_alone(laptop: Laptop, ctl: Ctl) -> None:
    _, npu, cpu = laptop
    assert ctl("calibrate", "--backend", "cpu").exit_code == 0
    assert (len(npu.requests), len(cpu.requests)) == (0, len(STEPS))


def test_what_a_backend_refuses_stands_in_its_row(laptop: Laptop, ctl: Ctl) -> None:
    _, npu, _ = laptop
    npu.script = (ProxyError(ErrorKind.UPSTREAM_FAILED, "the engine is ill"),)
    told = ctl("calibrate", "--backend", "npu")
    assert told.exit_code == 0
    assert "the engine is ill" in told.stdout


def test_a_model_of_embeddings_is_asked_for_those(laptop: Laptop, ctl: Ctl) -> None:
    _, npu, _ = laptop

    def refuse_chats() -> None:
        if npu.requests[-1][0].operation is not Operation.EMBEDDING:
            raise ProxyError(ErrorKind.INVALID_REQUEST, "this model does not talk")

    npu.script = (refuse_chats, *FakeBackend("npu").script)
    ctl("calibrate", "--backend", "npu")
    assert [asked.operation for asked, _ in npu.requests][1:] == [Operation.EMBEDDING] * len(STEPS)


def test_stopped_it_leaves_nothing_running(laptop: Laptop, start: Start) -> None:
    daemon, npu, _ = laptop
    npu.script = (Accepted(), Delta(text="a"), asyncio.Event())
    program = start("calibrate", "--backend", "npu")
    wait_until(lambda: npu.open == 1)
    program.process.send_signal(signal.SIGINT)
    status, out, _ = program.finish()
    assert status == 130
    assert "stopped" in out
    wait_until(lambda: npu.open == 0)
    assert daemon.do(lambda: daemon.services.gateway.in_flight) == 0


def test_stopped_in_the_middle_of_a_backend_it_shows_what_that_one_has_answered(laptop: Laptop, start: Start) -> None:
    _, npu, _ = laptop

    def hold_the_third() -> None:
        if len(npu.requests) == 3:
            npu.script = (Accepted(), Delta(text="a"), asyncio.Event())

    npu.script = (hold_the_third, *npu.script)
    program = start("calibrate", "--backend", "npu", "--json")
    wait_until(lambda: len(npu.requests) == 4 and npu.open == 1)
    program.process.send_signal(signal.SIGINT)
    status, out, _ = program.finish()
    (row,) = json.loads(out)["rows"]
    assert (status, row["answers"], row["error"]) == (130, 2, "stopped")


def test_devices_that_sleep_are_left_out_and_that_is_said(ctl: Ctl, laptop: Laptop, monkeypatch: Any) -> None:
    asleep = [Target("npu", "tiny:latest", asleep=True), Target("cpu", "tiny:latest")]
    monkeypatch.setattr("ollama_proxyd.cli.calibration.targets", lambda *_, **__: asleep)
    told = ctl("calibrate")
    assert "left out, since they sleep (--wake): npu" in told.stderr
    _, npu, cpu = laptop
    assert (len(npu.requests), len(cpu.requests)) == (0, len(STEPS))
    assert ctl("calibrate", "--wake").exit_code == 0
    assert len(npu.requests) == len(STEPS)


def test_without_a_backend_there_is_nothing_to_measure(laptop: Laptop, ctl: Ctl) -> None:
    told = ctl("calibrate", "--backend", "nowhere")
    assert told.exit_code == 1
    assert "no backend" in told.stderr


def backend(**changes: Any) -> dict[str, Any]:
    facts = {"id": "npu", "enabled": True, "health": Health.UP.value, "models": ["a", "b"], "asleep": None}
    return {**facts, "loaded_models": ["b"], **changes}


@pytest.mark.parametrize(
    ("changes", "every_model", "models"),
    [
        ({}, False, ["b"]),
        ({}, True, ["a", "b"]),
        ({"loaded_models": None}, False, ["a"]),
        ({"health": "down"}, True, []),
        ({"enabled": False}, True, []),
        ({"models": []}, False, []),
    ],
)
def test_a_model_in_memory_is_taken_before_others(
    changes: dict[str, Any], models: list[str], *, every_model: bool
) -> None:
    found = targets({"backends": [backend(**changes)]}, every_model=every_model)
    assert [each.model for each in found] == models


def test_reading_and_writing_are_told_apart() -> None:
    short = Sample(read=20, written=50, first_s=0.5, total_s=5.4, energy_j=20 * 0.02 + 50 * 0.4, source="measured")
    long = Sample(read=1020, written=10, first_s=2.5, total_s=3.4, energy_j=1020 * 0.02 + 10 * 0.4, source="attributed")
    row = reckoned(Target("npu", "a"), [short, long, short, long])
    assert row["written_joules_per_token"] == pytest.approx(0.4)
    assert row["read_joules_per_token"] == pytest.approx(0.02)
    assert row["written_seconds_per_token"] == pytest.approx(0.1)
    assert row["read_seconds_per_token"] == pytest.approx(0.002)
    assert (row["energy_source"], row["energy_error_percent"]) == ("attributed", 0)


def test_that_answers_repeat_themselves_makes_none_better_than_the_daemon_says() -> None:
    samples = [Sample(20, 50, 0.5, 5.4, 9.0, "estimated", 50)] * 2
    assert reckoned(Target("npu", "a"), samples)["energy_error_percent"] == 50
    apart = [Sample(20, 50, 0.5, 5.4, joules, "measured", 5) for joules in (8.0, 12.0)]
    assert reckoned(Target("npu", "a"), apart)["energy_error_percent"] == pytest.approx(20)


def test_what_was_not_told_stays_unknown() -> None:
    row = reckoned(Target("npu", "a"), [Sample(20, 0, 0.5, 0.5, None, None)])
    figures = [row[f"{what}_{unit}_per_token"] for what in ("read", "written") for unit in ("joules", "seconds")]
    assert figures == [None] * 4


def test_what_reading_costs_is_unknown_where_repeated_answers_differ_by_as_much() -> None:
    short = [Sample(20, 48, first_s, 5.0, 9.0, "measured") for first_s in (0.30, 0.32)]
    long = [Sample(1020, 8, first_s, 1.2, 1.5, "measured") for first_s in (0.31, 0.33)]
    row = reckoned(Target("npu", "a"), [*short, *long])
    assert (row["read_seconds_per_token"], row["read_joules_per_token"]) == (None, None)
    assert row["written_joules_per_token"] == pytest.approx(9 / 48, rel=0.02)


def test_a_model_of_a_short_context_reads_a_shorter_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_daemon: Any, _target: Target, _path: str, step: Step) -> Sample:
        if step.words > 300:
            raise Failed("the request exceeds the context size")
        return Sample(step.words, step.tokens, 0.1 + step.words / 1000, 1.0 + step.tokens / 10, 1.0, "estimated", 50)

    monkeypatch.setattr("ollama_proxyd.cli.calibration._ask", ask)
    daemon: Any = None
    row = measure(daemon, Target("npu", "a"), lambda: None)
    assert (row["answers"], row["error"]) == (len(STEPS) - 1, None)
    assert row["read_seconds_per_token"] == pytest.approx(0.001)


def test_what_an_engine_refuses_is_told_in_its_words(ctl: Ctl, laptop: Laptop) -> None:
    _, npu, _ = laptop
    npu.script = (ProxyError(ErrorKind.UPSTREAM_REJECTED, "the prompt is too long", status=400),)
    row = json.loads(ctl("calibrate", "--backend", "npu", "--json").stdout)["rows"][0]
    assert row["error"] == "the prompt is too long"
