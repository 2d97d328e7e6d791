"""A request that only unloads goes to where the model is in memory."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event, Finished, FinishReason
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.requests import Api, Chat, Hints, LoadAction, Operation, Request
from ollama_proxyd.core.residency import has_in_memory
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.services.bundle import Services
from tests.fakes import FakeBackend, pass_by, services_of

WARM = (LoadedModel("tiny:latest"),)


def request(model: str = "tiny", target: str | None = None) -> Request:
    asked = Request(Operation.CHAT, Api.OLLAMA, "chat", model, False, b"{}", lambda: Chat(()), Hints(target=target))
    return replace(asked, load_action=LoadAction.UNLOAD, keeps_s=0.0)


async def unloaded(services: Services, asked: Request) -> tuple[Routed, Event]:
    routed, *events = [event async for event in services.gateway.answer(asked)]
    assert isinstance(routed, Routed)
    (event,) = events
    assert not isinstance(event, Routed)
    return routed, event


async def test_it_goes_to_every_backend_that_has_the_model_in_memory_and_nowhere_else() -> None:
    npu, igpu = FakeBackend("npu", loaded=()), FakeBackend("igpu", loaded=WARM)
    nvidia = FakeBackend("nvidia", loaded=WARM)
    services = await services_of(npu, igpu, nvidia)
    routed, finished = await unloaded(services, request())
    assert [each.unloaded for each in (npu, igpu, nvidia)] == [[], ["tiny:latest"], ["tiny:latest"]]
    assert finished == Finished(FinishReason.UNLOAD)
    assert routed.backend_id == "igpu,nvidia"
    assert str(routed.decision.reason) == "unloading 'tiny': igpu, nvidia let go of it"
    assert not any(has_in_memory(view, "tiny") for view in services.fleet.views.value)


async def test_the_backends_are_asked_first_where_it_is() -> None:
    igpu = FakeBackend("igpu", loaded=())
    services = await services_of(igpu)
    igpu.loaded = WARM
    await pass_by(0.1)
    assert (await unloaded(services, request()))[0].backend_id == "igpu"


async def test_where_it_is_in_no_memory_nobody_is_asked_and_the_reason_says_so() -> None:
    igpu = FakeBackend("igpu", loaded=())
    routed, finished = await unloaded(await services_of(igpu), request())
    assert not igpu.unloaded
    assert finished == Finished(FinishReason.UNLOAD)
    assert str(routed.decision.reason) == "unloading 'tiny': no backend has it in memory"


async def test_an_engine_that_unloads_nothing_is_named_and_not_asked() -> None:
    fixed, ollama = FakeBackend("cpu", loaded=WARM), FakeBackend("igpu", loaded=WARM)
    fixed.can_unload = False
    routed, _ = await unloaded(await services_of(fixed, ollama), request())
    assert not fixed.unloaded
    assert str(routed.decision.reason) == (
        "unloading 'tiny': igpu let go of it; cpu kept it: its engine unloads nothing, or failed"
    )


async def test_a_target_is_the_only_one_that_unloads() -> None:
    igpu, nvidia = FakeBackend("igpu", loaded=WARM), FakeBackend("nvidia", loaded=WARM)
    await unloaded(await services_of(igpu, nvidia), request(target="nvidia"))
    assert (igpu.unloaded, nvidia.unloaded) == ([], ["tiny:latest"])


async def test_it_is_booked_as_no_answer() -> None:
    services = await services_of(FakeBackend("igpu", loaded=WARM))
    await unloaded(services, request())
    assert not services.energy.today.joules
    assert not services.ledger.by_backend
    assert services.ledger.recent()[-1].succeeded


async def test_a_model_that_nobody_holds_is_not_found() -> None:
    services = await services_of(FakeBackend("igpu", loaded=WARM))
    with pytest.raises(ProxyError) as caught:
        await unloaded(services, request("other"))
    assert caught.value.kind is ErrorKind.MODEL_NOT_FOUND


async def test_where_nobody_lets_go_of_it_the_client_is_told() -> None:
    igpu = FakeBackend("igpu", loaded=WARM)
    igpu.unloading = ProxyError(ErrorKind.UPSTREAM_FAILED, "broken")
    services = await services_of(igpu)
    with pytest.raises(ProxyError, match="broken"):
        await unloaded(services, request())
