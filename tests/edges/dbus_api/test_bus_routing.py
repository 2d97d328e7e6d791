"""ie.fio.OllamaProxy.Routing: dry runs without a trace, and the books of the real ones."""

import asyncio
import math
from contextlib import suppress
from typing import Any

import pytest
from dbus_fast import Variant

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.budget import BudgetSettings
from ollama_proxyd.core.digits import shortened
from ollama_proxyd.core.energy import Account, Source
from ollama_proxyd.core.energy_sums import Sums
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.decision_fields import decision_fields
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.services.energy import EnergyAccounts
from tests.edges.dbus_api.bus_desk import ENDPOINT, GRPC_ENDPOINT, Desk, Program, Refused, paused
from tests.fakes import FakeBackend, words


def asked(**said: Any) -> dict[str, Variant]:
    """A question with the types that Python's values have on the bus."""
    signatures = {bool: "b", int: "i", float: "d", str: "s"}
    return {key: Variant(signatures[type(value)], value) for key, value in said.items()}


async def test_a_simulation_says_where_and_why(program: Program) -> None:
    backend, reason = await program.call("Routing", "SimulateRouting", "a{sv}", {})
    assert program.reply_signature == "ss"
    assert backend == "igpu"
    assert reason.startswith("Balanced: igpu needs")


@pytest.mark.parametrize(
    ("annotations", "backend"),
    [
        (asked(target="cpu"), "cpu"),
        (asked(latency_critical=True), "nvidia"),
        (asked(prefer_power_efficiency=True), "npu"),
        (asked(max_latency_ms=200), "nvidia"),
        (asked(max_power_watts=5), "npu"),
        (asked(max_power_watts=5.5), "npu"),
        (asked(mode="Performance"), "nvidia"),
        (asked(target=""), "igpu"),
    ],
)
async def test_each_annotation_counts(program: Program, annotations: dict[str, Variant], backend: str) -> None:
    assert (await program.call("Routing", "SimulateRouting", "a{sv}", annotations))[0] == backend


async def test_what_nothing_can_serve_goes_nowhere_and_says_why(program: Program) -> None:
    backend, reason = await program.call("Routing", "SimulateRouting", "a{sv}", asked(max_power_watts=1))
    assert backend == ""
    assert reason.startswith("npu needs 3 W, and the request allows at most 1 W; ")


async def test_a_simulation_leaves_no_trace(program: Program, desk: Desk, fleet: dict[str, FakeBackend]) -> None:
    services = desk.services
    before = (services.fleet.views.value, services.governor.setting.value, services.ledger.recent())
    values = await program.get_all("Routing")
    for _ in range(3):
        await program.call("Routing", "SimulateRouting", "a{sv}", asked(mode="Quiet", on_battery=True))
        await program.call("Routing", "Explain", "a{sv}", asked(battery_percent=5.0, on_battery=True, mode="Auto"))
    desk.clock.advance(1)
    assert await program.heard() == []
    assert (services.fleet.views.value, services.governor.setting.value, services.ledger.recent()) == before
    assert await program.get_all("Routing") == values
    assert not any(backend.requests for backend in fleet.values())


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_null(each) for key, each in value.items() if each is not None}
    return [without_null(each) for each in value] if isinstance(value, list) else value


async def test_an_explanation_is_the_same_as_over_http(program: Program, desk: Desk) -> None:
    question = asked(model="tiny", prompt_tokens=900, max_tokens=50, latency_critical=True)
    explained = await program.call("Routing", "Explain", "a{sv}", question)
    query = Query(model="tiny", prompt_tokens=900, max_tokens=50, hints=Hints(latency_critical=True))
    assert explained == without_null(shortened(decision_fields(desk.services.gateway.explain(query))))
    assert explained["ranked"][0]["terms"]["cost_joules"] > 0


async def test_another_state_of_the_machine_can_be_imagined(program: Program, desk: Desk) -> None:
    desk.services.governor.select(Mode.AUTO)
    question = asked(on_battery=True, battery_percent=12)
    explained = await program.call("Routing", "Explain", "a{sv}", question)
    assert (explained["mode"], explained["effective_mode"]) == ("Auto", "UltraEfficiency")
    imagined = SystemState(on_battery=Reading(True, 0.0), battery_percent=Reading(12.0, 0.0))
    assert explained["mode_reason"] == str(desk.services.governor.imagine(Mode.AUTO, imagined).reason)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (asked(prefer_power_efficiency=5), "prefer_power_efficiency must be true"),
        (asked(targt="npu"), "unknown key 'targt'; did you mean target?"),
        (asked(target=1), "target must be text"),
        (asked(latency_critical="maybe"), "latency_critical must be true"),
        (asked(max_power_watts="five"), "max_power_watts must be a number"),
        (asked(max_power_watts=True), "max_power_watts must be a number"),
        (asked(max_power_watts=0), "max_power_watts must be a number above 0"),
        (asked(max_latency_ms=math.nan), "max_latency_ms must be a number above 0"),
        (asked(prompt_tokens=-1), "prompt_tokens must be a whole number from 0 to"),
        (asked(battery_percent=101.0), "battery_percent must be a number from 0 to 100"),
        (asked(operation="sing"), "operation must be one of chat, completion, embedding"),
        (asked(power_profile="turbo"), "power_profile must be one of power-saver, balanced, performance"),
        (asked(priority="urgent"), "priority must be one of"),
    ],
)
async def test_a_question_that_cannot_be_is_refused_with_what_can(
    program: Program, question: dict[str, Variant], says: str
) -> None:
    for member in ("SimulateRouting", "Explain"):
        with pytest.raises(Refused) as refused:
            await program.call("Routing", member, "a{sv}", question)
        assert refused.value.name == "ie.fio.OllamaProxy.Error.InvalidArgument"
        assert says in refused.value.text


async def test_front_ends_are_told_and_a_question_may_name_one(program: Program, desk: Desk) -> None:
    assert await program.call("Routing", "GetFrontends") == []
    assert await program.call("Routing", "GetModelSync") == []
    desk.services.frontends.reconfigure([FrontendSettings(Frontend("chat", models=("small*",)), hosts=("chat.test",))])
    (told,) = await program.call("Routing", "GetFrontends")
    assert (told["name"], told["hosts"], told["allowed_models"]) == ("chat", ["chat.test"], ["small*"])
    explained = await program.call("Routing", "Explain", "a{sv}", asked(model="tiny", frontend="chat"))
    assert {each["rejections"][0]["reason_code"] for each in explained["rejected"]} == {"model_not_of_frontend"}
    with pytest.raises(Refused, match="there is no front end 'other'; there are: chat"):
        await program.call("Routing", "Explain", "a{sv}", asked(frontend="other"))


async def test_an_unknown_mode_in_a_question_is_refused_as_everywhere(program: Program) -> None:
    with pytest.raises(Refused, match=r"Error\.UnknownMode"):
        await program.call("Routing", "SimulateRouting", "a{sv}", asked(mode="Turbo"))


async def test_before_the_first_request_nothing_is_made_up(program: Program) -> None:
    stats = await program.call("Routing", "GetRoutingStats")
    assert (stats["total_requests"], stats["total_success"], stats["total_errors"], stats["backend_count"]) == (
        0,
        0,
        0,
        4,
    )
    assert stats["unknown"].keys() == {"success_rate"}
    assert await program.call("Routing", "GetLastDecisions", "u", 10) == []
    assert await program.call("Routing", "GetBackendDistribution") == {}
    assert await program.get("Routing", "LastDecision") == {}


async def test_each_request_is_told_once(program: Program, desk: Desk) -> None:
    await desk.request()
    await desk.request(target="npu")
    told = [each for each in await program.heard_named() if each[0] == "RequestRouted"]
    assert [(each[1], each[3]) for each in told] == [("igpu", 350), ("npu", 800)]
    assert "the request names npu" in told[1][2]


async def test_the_books_agree_in_every_place(program: Program, desk: Desk, fleet: dict[str, FakeBackend]) -> None:
    for target in ("npu", "npu", "npu", "cpu"):
        await desk.request(target=target)
    fleet["cpu"].script = (ProxyError(ErrorKind.UPSTREAM_REJECTED, "no", status=400),)
    with suppress(ProxyError):
        await desk.request(target="cpu")
    with suppress(ProxyError):
        await desk.request(model="absent")
    stats = await program.call("Routing", "GetRoutingStats")
    assert {name: stats[name] for name in ("total_requests", "total_success", "total_errors")} == {
        "total_requests": 6,
        "total_success": 4,
        "total_errors": 2,
    }
    assert stats["success_rate"] == pytest.approx(100 * 4 / 6)
    assert await program.call("Routing", "GetBackendDistribution") == {"npu": 60.0, "cpu": 40.0}
    values = await program.get_all("Routing")
    assert values["TotalRequests"] == 6
    assert values["Savings"] == {"power_saver_held": False, "power_saver_answers": 0, "unloaded_models": 0}
    assert {name: values["Today"][name] for name in ("requests", "errors")} == {"requests": 6, "errors": 2}
    assert values["Today"]["completion_tokens"] == 8


async def test_the_last_decisions_come_newest_first_and_tell_refusals_too(program: Program, desk: Desk) -> None:
    await desk.request(target="npu")
    with suppress(ProxyError):
        await desk.request(model="absent")
    decisions = await program.call("Routing", "GetLastDecisions", "u", 10)
    assert program.reply_signature == "aa{sv}"
    refused, served = decisions
    assert refused.keys() == {"unix_seconds", "reason", "reason_code", "reason_details", "mode", "effective_mode"}
    assert (served["unix_seconds"], served["backend"]) == (int(desk.clock.unix()), "npu")
    assert (served["power_watts"], served["latency_ms"]) == (3.0, 800)
    assert len(await program.call("Routing", "GetLastDecisions", "u", 1)) == 1
    assert await program.call("Routing", "GetLastDecisions", "u", 0) == []


async def test_the_last_decision_is_a_property(program: Program, desk: Desk) -> None:
    await desk.request(target="npu")
    last = await program.get("Routing", "LastDecision")
    assert (last["backend"], last["model"], last["mode"], last["latency_ms"]) == ("npu", "tiny:latest", "Balanced", 800)


async def test_counts_are_told_at_most_five_times_a_second_and_end_up_right(program: Program, desk: Desk) -> None:
    await program.heard()
    told = []
    for _ in range(40):
        await desk.request(target="npu")
        desk.clock.advance(0.01)
        told += [change["TotalRequests"] for change in await program.heard_changes("Routing")]
    desk.clock.advance(1)
    told += [change["TotalRequests"] for change in await program.heard_changes("Routing")]
    assert len(told) <= 4
    assert told[-1] == 40


async def test_the_days_counts_begin_anew_at_midnight_without_a_request(program: Program, desk: Desk) -> None:
    await desk.request(target="npu")
    desk.clock.advance(1)
    await program.heard()
    for _ in range(13):
        desk.clock.advance(3600)
        await program.settle()
    (told,) = await program.heard_changes("Routing")
    assert told.keys() == {"Today"}
    assert told["Today"]["requests"] == 0


async def test_the_budget_of_the_day_is_told_as_soon_as_a_reload_sets_it(program: Program, desk: Desk) -> None:
    today = (await program.get_all("Routing"))["Today"]
    assert today["spent_watt_hours"] == 0
    assert not {"budget_watt_hours", "budget_reason"} & today.keys()
    desk.services.budget.reconfigure(BudgetSettings(20.0))
    assert (await program.get_all("Routing"))["Today"]["budget_watt_hours"] == 20


async def test_what_changes_today_without_a_request_is_told_when_it_does(
    program: Program, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit by a reload, joules that are known only after the end, and what the daemon's own levers did."""
    services = desk.services
    attempts: list[AttemptEnded] = []
    services.fleet.attempts.listen(attempts.append)
    await desk.request(target="npu")
    desk.clock.advance(1)
    await program.heard()

    async def told() -> list[dict[str, Any]]:
        desk.clock.advance(1)
        return await program.heard_changes("Routing")

    services.budget.reconfigure(BudgetSettings(20.0))
    assert [each["Today"]["budget_watt_hours"] for each in await told()] == [20]
    services.power_saver.held()
    assert [each["Savings"]["power_saver_held"] for each in await told()] == [True]
    services.keeper.savings.unloads.set(1)
    assert [each["Savings"]["unloaded_models"] for each in await told()] == [1]
    key = "npu", Account.ACTIVE, Source.MEASURED
    monkeypatch.setattr(EnergyAccounts, "totals", Sums({key: 50.0}, {key: 1.0}))
    services.energy.booked.publish(attempts[0])
    assert [each["Today"]["energy_joules"] for each in await told()] == [50]


async def test_where_a_request_went_is_told_when_its_answer_begins_and_only_then(
    program: Program, desk: Desk, fleet: dict[str, FakeBackend]
) -> None:
    go_on = paused(fleet["npu"])
    desk.clock.advance(1)
    await program.heard()
    running = asyncio.create_task(desk.request(target="npu"))
    await fleet["npu"].opened.wait()
    desk.clock.advance(1)
    news = [(member, body) for where, member, body in await program.heard() if where == "Routing"]
    assert sorted(member for member, _ in news) == ["PropertiesChanged", "RequestRouted"]
    (told,) = [body[1] for member, body in news if member == "PropertiesChanged"]
    assert told.keys() == {"LastDecision"}
    assert told["LastDecision"]["backend"] == "npu"
    go_on.set()
    await running
    desk.clock.advance(1)
    news = [(member, body) for where, member, body in await program.heard() if where == "Routing"]
    assert [(member, body[1].keys()) for member, body in news] == [("PropertiesChanged", {"TotalRequests", "Today"})]


async def test_the_last_decision_is_the_last_that_was_taken_and_not_the_last_that_ended(
    program: Program, desk: Desk, fleet: dict[str, FakeBackend]
) -> None:
    go_on = paused(fleet["npu"])
    running = asyncio.create_task(desk.request(target="npu"))
    await fleet["npu"].opened.wait()
    await desk.request(target="cpu")
    go_on.set()
    await running
    assert (await program.get("Routing", "LastDecision"))["backend"] == "cpu"
    assert (await program.call("Routing", "GetLastDecisions", "u", 1))[0]["backend"] == "npu"


async def test_a_request_that_nothing_answered_is_told_when_it_has_failed(
    program: Program, desk: Desk, fleet: dict[str, FakeBackend]
) -> None:
    fleet["cpu"].script = (ProxyError(ErrorKind.UPSTREAM_REJECTED, "no", status=400),)
    with suppress(ProxyError):
        await desk.request(target="cpu")
    assert [each[:2] for each in await program.heard_named()] == [("RequestRouted", "cpu")]
    with suppress(ProxyError):
        await desk.request(model="absent")
    assert await program.heard_named() == []
    last = await program.get("Routing", "LastDecision")
    assert last.keys() == {"unix_seconds", "reason", "reason_code", "reason_details", "mode", "effective_mode"}
    assert "absent" in last["reason"]


async def test_the_last_decision_tells_what_performance_would_have_needed(program: Program, desk: Desk) -> None:
    explained = desk.services.gateway.explain(Query(model="tiny"), Mode.PERFORMANCE)
    await desk.request()
    last = await program.get("Routing", "LastDecision")
    assert (last["backend"], last["instead_of"]) == ("igpu", "nvidia")
    assert last["instead_of_joules"] == shortened(explained.ranked[0].energy_j)
    assert last["instead_of_joules"] > last["energy_joules"]


async def test_where_performance_would_choose_the_same_nothing_stands_instead(program: Program, desk: Desk) -> None:
    desk.services.governor.select(Mode.PERFORMANCE)
    await desk.request()
    assert not {"instead_of", "instead_of_joules"} & (await program.get("Routing", "LastDecision")).keys()
    today = await program.get("Routing", "Today")
    assert (today["saved_joules"], today["compared"]) == (0.0, 1)


async def test_what_was_saved_today_is_absent_until_something_was_compared(
    program: Program, desk: Desk, fleet: dict[str, FakeBackend]
) -> None:
    assert not {"saved_joules", "compared"} & (await program.get("Routing", "Today")).keys()
    begun = fleet["igpu"].script[:2]
    fleet["igpu"].script = (*begun, ProxyError(ErrorKind.UPSTREAM_FAILED, "broke off"))
    with suppress(ProxyError):
        await desk.request()
    assert not {"saved_joules", "compared"} & (await program.get("Routing", "Today")).keys()
    fleet["igpu"].script = words(*["word"] * 100)
    await desk.request()
    today = await program.get("Routing", "Today")
    assert today["compared"] == 1
    # 100 tokens: 55 W for 0.15 s + 100/65 s on nvidia, against 12 W for 0.35 s + 100/22 s on igpu
    assert today["saved_joules"] == pytest.approx(55 * (0.15 + 100 / 65) - 12 * (0.35 + 100 / 22))


async def test_clients_find_the_daemon(program: Program) -> None:
    assert await program.get("Routing", "Endpoint") == ENDPOINT
    assert await program.get("Routing", "GrpcEndpoint") == GRPC_ENDPOINT


async def test_the_books_of_some_days_come_as_over_http(program: Program) -> None:
    told = await program.call("Routing", "GetEnergy", "us", 7, "model")
    assert (told["since"], told["until"], told["by"], told["rows"]) == ("2027-01-09", "2027-01-15", "model", [])
    for days, by in ((0, "model"), (7, "colour")):
        with pytest.raises(Refused, match="InvalidArgument"):
            await program.call("Routing", "GetEnergy", "us", days, by)


async def test_the_hours_of_the_last_day_are_told_as_over_http(program: Program) -> None:
    told = await program.call("Routing", "GetEnergyHours")
    assert [each["energy_joules"] for each in told["hours"]] == [0] * 24
    assert told["hours"][0]["unix_seconds"] == told["since_unix_seconds"]
    assert told["modes"] == []
