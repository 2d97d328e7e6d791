"""What Prometheus is told."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Usage
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.edges.http_api.counters import MOST_MODELS, Counters
from ollama_proxyd.edges.http_api.exposition import Counted
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.ledger import Outcome
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, FakeClock, reference_fleet, reload, settle, spec_of, words

Value = Callable[..., float | None]


async def scrape(site: Site) -> Value:
    """Read every sample; the result looks one up by name and labels."""
    answer = await site.get("/metrics")
    assert answer.status == 200
    samples = [sample for family in text_string_to_metric_families(answer.body.decode()) for sample in family.samples]

    def value(name: str, **labels: str) -> float | None:
        found = [
            sample.value for sample in samples if sample.name == f"ollama_proxy_{name}" and sample.labels == labels
        ]
        assert len(found) <= 1
        return found[0] if found else None

    return value


async def test_a_request_is_counted_once(serve: Serve) -> None:
    site = await serve()
    await site.chat()
    await site.chat(stream=True)
    value = await scrape(site)
    assert value("requests_total", backend_id="npu", model="tiny:latest", status="ok") == 2
    assert value("request_duration_seconds_count", backend_id="npu", model="tiny:latest") == 2
    assert value("time_to_first_token_ms_count", backend_id="npu", model="tiny:latest") == 1
    assert value("tokens_generated_total", backend_id="npu", model="tiny:latest") == 4
    assert value("routing_decisions_total", backend_id="npu", reason="only_candidate", mode="Balanced") == 2


async def test_a_failure_is_counted_by_its_kind(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_REJECTED, "no", status=400)))
    await site.chat()
    await site.chat(model="nope")
    value = await scrape(site)
    assert value("requests_total", backend_id="npu", model="tiny:latest", status="upstream_rejected") == 1
    assert value("requests_total", backend_id="none", model="none", status="model_not_found") == 1
    assert value("routing_decisions_total", backend_id="none", reason="refused", mode="Balanced") == 1


async def test_a_client_that_leaves_is_counted_as_such(serve: Serve) -> None:
    backend = FakeBackend("npu", Accepted(), Delta("x"), asyncio.Event())
    site = await serve(backend)
    request = asyncio.create_task(site.chat(stream=True))
    await backend.opened.wait()
    assert (await scrape(site))("requests_in_flight") == 1
    assert (await scrape(site))("backend_in_flight", backend_id="npu") == 1
    request.cancel()
    await backend.closed.wait()
    await settle()
    value = await scrape(site)
    assert value("requests_total", backend_id="npu", model="tiny:latest", status="cancelled") == 1
    assert value("requests_in_flight") == 0


async def test_energy_and_speed_are_counted_from_the_time_that_passed(serve: Serve) -> None:
    clock = FakeClock()
    steps = [step for word in words(*"abcde") for step in (word, lambda: clock.advance(1.0))]
    site = await serve(FakeBackend("npu", *steps), clock=clock)
    await site.chat(stream=True)
    value = await scrape(site)
    joules = value("energy_joules_total", device="npu", account="active", source="estimated")
    assert joules is not None
    assert joules >= 3.0 * 5
    assert value("energy_consumed_wh_total", backend_id="npu", hardware="npu") == pytest.approx(joules / 3600)
    assert value("tokens_per_second_count", backend_id="npu", model="tiny:latest") == 1
    assert value("inter_token_latency_ms_count", backend_id="npu", model="tiny:latest") == 1


async def test_a_retry_is_counted_on_the_backend_that_failed(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "no")), FakeBackend("cpu"))
    await site.chat({"X-Power-Efficient": "1"})
    assert (await scrape(site))("retries_total", backend_id="npu") == 1


async def test_answers_that_went_on_and_those_that_could_not_are_counted_by_reason(serve: Serve) -> None:
    broken = FakeBackend("npu", Accepted(), Delta(text="Hel"), ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "silent"))
    site = await serve(broken, FakeBackend("cpu"))
    await site.chat({"X-Power-Efficient": "1"}, stream=True)
    await reload(site.services, broken)
    await site.chat({"X-Power-Efficient": "1"}, stream=True)
    value = await scrape(site)
    assert value("answers_resumed_total", reason="stalled") == 1
    assert value("answers_broken_off_total", reason="no_backend") == 1


async def test_the_fleet_and_the_mode_are_read_at_the_moment_of_asking(serve: Serve) -> None:
    backends = reference_fleet()
    site = await serve(*backends)
    backends[0].down = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    await site.services.health.check_all()
    await site.post("/efficiency", {"mode": "Quiet"})
    value = await scrape(site)
    assert value("backend_health", backend_id="npu") == 0
    assert value("backend_health", backend_id="igpu") == 1
    assert value("backend_rated_power_watts", backend_id="nvidia") == 55
    assert value("queue_depth", priority="normal") == 0
    assert value("efficiency_mode", mode="Quiet", role="chosen") == 1
    assert value("efficiency_mode", mode="Balanced", role="chosen") == 0


async def test_the_longest_wait_is_there_while_a_request_waits(serve: Serve) -> None:
    site = await serve(FakeBackend(spec_of("npu", slots=1), Accepted(), Delta("first"), asyncio.Event()))
    assert (await scrape(site))("queue_oldest_wait_seconds") is None
    requests = [asyncio.create_task(site.chat(stream=True)) for _ in range(2)]
    async with asyncio.timeout(20):
        await site.services.admission.waiting.until(lambda count: count == 1)
    value = await scrape(site)
    assert value("queue_depth", priority="normal") == 1
    assert value("queue_oldest_wait_seconds") is not None
    for request in requests:
        request.cancel()


async def test_what_devices_and_battery_say_is_there_and_what_is_unknown_is_absent(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    npu = DeviceState(
        "a", Hardware.NPU, "", PowerState.AWAKE, temperature_c=Reading(0.0, 1.0), power_w=Reading(3.5, 1.0)
    )
    nvidia = DeviceState("b", Hardware.NVIDIA, "", PowerState.ASLEEP)
    value = await scrape(site)
    assert value("on_battery") is value("battery_percent") is None
    on_battery = Reading(value=True, at_s=1.0)
    system = SystemState(on_battery=on_battery, battery_percent=Reading(43.0, 1.0), devices=(npu, nvidia))
    site.services.system.set(system)
    value = await scrape(site)
    assert (value("on_battery"), value("battery_percent")) == (1, 43)
    assert value("backend_temperature_celsius", backend_id="npu") == 0
    assert value("backend_temperature_celsius", backend_id="nvidia") is None
    assert value("backend_power_watts", backend_id="npu") == 3.5
    assert value("backend_fan_speed_percent", backend_id="npu") is None
    asleep = [value("backend_asleep", backend_id=each) for each in ("npu", "nvidia", "cpu")]
    assert asleep == [0, 1, None]


async def test_counting_goes_on_over_a_reload(serve: Serve) -> None:
    site = await serve()
    await site.chat()
    await reload(site.services, FakeBackend("cpu"))
    await site.chat()
    value = await scrape(site)
    assert value("requests_total", backend_id="npu", model="tiny:latest", status="ok") == 1
    assert value("requests_total", backend_id="cpu", model="tiny:latest", status="ok") == 1


async def test_two_servers_in_one_process_count_apart(serve: Serve) -> None:
    one, two = await serve(), await serve()
    await one.chat()
    assert (await scrape(two))("requests_total", backend_id="npu", model="tiny:latest", status="ok") is None


async def test_metrics_are_not_there_when_they_are_switched_off(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, serve_metrics=False, drain_s=0.2))
    assert (await site.get("/metrics")).status == 404
    assert (await site.chat()).status == 200


async def test_the_newer_format_is_given_to_whoever_asks_for_it(serve: Serve) -> None:
    site = await serve()
    await site.chat()
    answer = await site.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


def count_models(most: int, *backends: str) -> CollectorRegistry:
    """What is counted when each backend serves so many models."""
    registry = CollectorRegistry()
    counters = Counters()
    registry.register(Counted(counters))
    for number in range(most):
        for backend_id in backends:
            model = f"m{number}"
            counters.count(Outcome("id", Operation.CHAT, backend_id, model, None, unix_s=0.0, total_s=1.0, ttft_s=0.5))
            counters.count_attempt(
                AttemptEnded(
                    backend_id,
                    model,
                    Operation.CHAT,
                    "id",
                    begun_s=0.0,
                    first_s=0.5,
                    ended_s=1.0,
                    stream=True,
                    usage=Usage(prompt_tokens=1, completion_tokens=9),
                )
            )
    return registry


def test_models_beyond_a_bound_are_counted_together_and_the_answer_says_so() -> None:
    registry = count_models(MOST_MODELS + 10, "npu")
    models = {
        sample.labels["model"] for family in registry.collect() for sample in family.samples if "model" in sample.labels
    }
    assert len(models) == MOST_MODELS + 1
    labels = {"backend_id": "npu", "model": "other", "status": "ok"}
    assert registry.get_sample_value("ollama_proxy_requests_total", labels) == 10
    families = [family for family in registry.collect() if any("model" in each.labels for each in family.samples)]
    told = f'models beyond the first {MOST_MODELS} of all backends are counted as "other"'
    assert [family.name for family in families if told not in family.documentation] == []
    assert len(families) >= 7


def test_the_answer_stays_small_however_many_models_all_backends_serve() -> None:
    backends = [f"backend-{number}" for number in range(8)]
    assert len(generate_latest(count_models(500, *backends))) < 1_500_000


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc; escaping=zzz",
        "application/openmetrics-text; version=1.x",
        'text/plain; version="1.0.0"',
        "text/plain; version=; escaping=, application/openmetrics-text;version=",
        "text/plain; version=1.0.0\u00ff",
        "application/openmetrics-text; version=1.0.0" + ".0" * 3000,
    ],
)
async def test_a_scraper_that_asks_for_an_odd_format_gets_the_plain_one(serve: Serve, accept: str) -> None:
    site = await serve()
    answer = await site.get("/metrics", headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_prometheus_gets_the_format_that_it_asks_for(serve: Serve) -> None:
    accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2"
    answer = await (await serve()).get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


async def test_a_breaker_is_a_gauge_while_it_is_open_and_a_count_of_its_openings(serve: Serve) -> None:
    bad = FakeBackend("igpu", ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "silent"))
    site = await serve(bad, FakeBackend("npu"))
    await site.chat()
    metrics = await scrape(site)
    assert metrics("backend_breaker", backend_id="igpu", fault="stalled") == 1
    assert metrics("backend_breaker_opens_total", backend_id="igpu", fault="stalled") == 1
    assert metrics("backend_health", backend_id="igpu") == 0


async def test_a_backend_that_fails_requests_is_told_so_everywhere(serve: Serve) -> None:
    bad = FakeBackend("igpu", ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "silent"))
    site = await serve(bad, FakeBackend("npu"))
    await site.chat()
    (told,) = [each for each in (await site.get("/backends")).json if each["id"] == "igpu"]
    assert (told["health"], told["reason_code"]) == ("failing", "failing")
    assert [(each["fault"], each["state"]) for each in told["breakers"]] == [("stalled", "open")]
    assert (await site.get("/health")).json["status"] == "degraded"
    assert (await site.get("/readyz")).body == b"ready\n"


async def test_a_decision_for_which_a_limit_gave_way_is_counted_as_such(serve: Serve) -> None:
    site = await serve(FakeBackend("nvidia"), mode=Mode.EFFICIENCY)
    await site.chat()
    told = (await site.get("/metrics")).body.decode()
    counted = 'routing_decisions_total{backend_id="nvidia",mode="Efficiency",reason="conceded"} 1.0'
    assert counted in told


async def test_a_decision_is_counted_by_its_own_reason_also_for_a_request_that_was_tried_before(serve: Serve) -> None:
    bad = FakeBackend("igpu", ProxyError(ErrorKind.UPSTREAM_FAILED, "no"))
    site = await serve(bad, FakeBackend("npu"), mode=Mode.BALANCED)
    await site.chat()
    await site.chat(headers={"X-Target-Backend": "npu"})
    value = await scrape(site)
    assert value("routing_decisions_total", backend_id="npu", reason="only_candidate", mode="Balanced") == 1
    assert value("routing_decisions_total", backend_id="npu", reason="target_named", mode="Balanced") == 1


async def test_a_trial_is_counted_as_such(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), FakeBackend("igpu"), mode=Mode.BALANCED)
    reasons = [(await site.chat()).headers["X-Routing-Reason"] for _ in range(40)]
    tried = sum("as a trial" in each for each in reasons)
    told = (await site.get("/metrics")).body.decode()
    counted = sum(
        float(line.split()[-1])
        for line in told.splitlines()
        if "routing_decisions_total{" in line and 'reason="trial"' in line
    )
    assert 0 < tried == counted


async def test_a_backend_has_its_slots_with_how_they_are_known(serve: Serve) -> None:
    site = await serve(FakeBackend(spec_of("npu", slots=3)), FakeBackend("cpu"))
    value = await scrape(site)
    assert value("backend_slots", backend_id="npu", source="configured") == 3
    assert value("backend_slots", backend_id="cpu", source="assumed") == 1


async def test_a_body_that_is_refused_is_counted_and_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    site = await serve(listen=ServerSettings(port=0, drain_s=0.2, max_body_bytes=1000))
    answer = await site.ask("POST", "/api/chat", data=b"x" * 2000)
    assert answer.status == 413
    assert (await scrape(site))("bodies_refused_total", reason="too_large") == 1
    assert "its body is refused: the request body is larger than 1000 bytes" in caplog.text


async def test_what_early_unloading_saved_is_shown(serve: Serve) -> None:
    site = await serve()
    site.services.keeper.savings.unloads.set(3)
    value = await scrape(site)
    assert value("models_unloaded") == 3
    assert value("unloading_saved_joules") == 0
